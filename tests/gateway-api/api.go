// Package gatewayapi runs the conformance suite of the Gateway API against an Envoy with Sluice's
// filters.
package gatewayapi

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"
)

// api stands in for the API server: a store of objects. Objects get the defaults of the schemas of
// their CustomResourceDefinitions, a generation and a time of creation, as in an API server. Their
// rules (CEL) are not checked.
type api struct {
	// For the suite
	client client.WithWatch
	// For the control plane, whose writes it does not have to hear of
	store client.Client
	// Gets a value after each change by the suite
	changed  chan struct{}
	defaults map[schema.GroupKind]*structural.Structural
}

// newAPI returns an API with the CustomResourceDefinitions in a folder of the gateway-api module.
func newAPI(definitions string) (*api, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, appsv1.AddToScheme, discoveryv1.AddToScheme, gatewayv1.Install,
		apiextensionsv1.AddToScheme, apiextensions.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	own := &api{
		changed:  make(chan struct{}, 1),
		defaults: map[schema.GroupKind]*structural.Structural{},
	}
	builder := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(
		&gatewayv1.GatewayClass{}, &gatewayv1.Gateway{}, &gatewayv1.HTTPRoute{},
		&gatewayv1.GRPCRoute{})
	files, err := filepath.Glob(filepath.Join(definitions, "gateway.networking.k8s.io_*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("%s has no CustomResourceDefinitions: %w", definitions, fs.ErrNotExist)
	}
	for _, file := range files {
		definition, err := own.read(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if definition != nil {
			builder = builder.WithObjects(definition)
		}
	}
	store := builder.Build()
	own.store = store
	own.client = interceptor.NewClient(store, interceptor.Funcs{
		Create: own.create, Update: own.update, Patch: own.patch, Delete: own.delete,
	})
	return own, nil
}

// read reads a file and the schema in it; nil for another kind of object.
func (own *api) read(file string) (*apiextensionsv1.CustomResourceDefinition, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	definition := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.Unmarshal(text, definition); err != nil {
		return nil, err
	}
	if definition.Kind != "CustomResourceDefinition" {
		return nil, nil
	}
	for _, version := range definition.Spec.Versions {
		if !version.Storage {
			continue
		}
		internal := &apiextensions.JSONSchemaProps{}
		if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(
			version.Schema.OpenAPIV3Schema, internal, nil); err != nil {
			return nil, err
		}
		built, err := structural.NewStructural(internal)
		if err != nil {
			return nil, err
		}
		kind := schema.GroupKind{Group: definition.Spec.Group, Kind: definition.Spec.Names.Kind}
		own.defaults[kind] = built
	}
	return definition, nil
}

// complete gives an object the defaults of its schema.
func (own *api) complete(object client.Object) error {
	kinds, _, err := own.store.Scheme().ObjectKinds(object)
	if err != nil {
		return err
	}
	defaults := own.defaults[kinds[0].GroupKind()]
	if defaults == nil {
		return nil
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return err
	}
	// Statuses have defaults too, which would replace those that the control plane has written.
	status := content["status"]
	delete(content, "status")
	defaulting.Default(content, defaults)
	if status != nil {
		content["status"] = status
	}
	if own, ok := object.(*unstructured.Unstructured); ok {
		own.Object = content
		return nil
	}
	return runtime.DefaultUnstructuredConverter.FromUnstructured(content, object)
}

func (own *api) create(
	ctx context.Context, store client.WithWatch, object client.Object, options ...client.CreateOption,
) error {
	if err := own.complete(object); err != nil {
		return err
	}
	object.SetGeneration(1)
	object.SetCreationTimestamp(metav1.Now())
	return own.notify(store.Create(ctx, object, options...))
}

func (own *api) update(
	ctx context.Context, store client.WithWatch, object client.Object, options ...client.UpdateOption,
) error {
	if err := own.complete(object); err != nil {
		return err
	}
	object.SetGeneration(object.GetGeneration() + 1)
	return own.notify(store.Update(ctx, object, options...))
}

func (own *api) patch(
	ctx context.Context, store client.WithWatch, object client.Object, patch client.Patch,
	options ...client.PatchOption,
) error {
	return own.notify(store.Patch(ctx, object, patch, options...))
}

func (own *api) delete(
	ctx context.Context, store client.WithWatch, object client.Object, options ...client.DeleteOption,
) error {
	return own.notify(store.Delete(ctx, object, options...))
}

// notify tells the control plane of a change, unless it failed.
func (own *api) notify(err error) error {
	if err == nil {
		select {
		case own.changed <- struct{}{}:
		default:
		}
	}
	return err
}
