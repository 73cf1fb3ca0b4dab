package gatewayapi

import (
	"context"
	"encoding/json"
	"maps"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// state is what the control plane reads.
type state struct {
	gateways   gatewayv1.GatewayList
	httpRoutes gatewayv1.HTTPRouteList
	grpcRoutes gatewayv1.GRPCRouteList
	grants     gatewayv1.ReferenceGrantList
	services   corev1.ServiceList
	slices     discoveryv1.EndpointSliceList
	pods       corev1.PodList
	namespaces corev1.NamespaceList
	secrets    corev1.SecretList
}

func readState(ctx context.Context, store client.Client) (*state, error) {
	own := &state{}
	for _, list := range []client.ObjectList{
		&own.gateways, &own.httpRoutes, &own.grpcRoutes, &own.grants, &own.services, &own.slices,
		&own.pods, &own.namespaces, &own.secrets,
	} {
		if err := store.List(ctx, list); err != nil {
			return nil, err
		}
	}
	return own, nil
}

// manifest returns the objects that the command reads, as `kubectl get -o json` writes them.
func (own *state) manifest(scheme *runtime.Scheme) ([]byte, error) {
	var objects []client.Object
	for index := range own.namespaces.Items {
		objects = append(objects, &own.namespaces.Items[index])
	}
	for index := range own.gateways.Items {
		objects = append(objects, &own.gateways.Items[index])
	}
	for index := range own.services.Items {
		objects = append(objects, &own.services.Items[index])
	}
	for index := range own.grants.Items {
		objects = append(objects, &own.grants.Items[index])
	}
	for index := range own.httpRoutes.Items {
		objects = append(objects, &own.httpRoutes.Items[index])
	}
	for index := range own.grpcRoutes.Items {
		objects = append(objects, &own.grpcRoutes.Items[index])
	}
	items := []any{}
	for _, object := range objects {
		kinds, _, err := scheme.ObjectKinds(object)
		if err != nil {
			return nil, err
		}
		item, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
		if err != nil {
			return nil, err
		}
		item["apiVersion"], item["kind"] = kinds[0].GroupVersion().String(), kinds[0].Kind
		delete(item, "status")
		items = append(items, item)
	}
	return json.Marshal(object{"apiVersion": "v1", "kind": "List", "items": items})
}

// gateway returns a Gateway; nil if it does not exist.
func (own *state) gateway(name types.NamespacedName) *gatewayv1.Gateway {
	for index := range own.gateways.Items {
		if gateway := &own.gateways.Items[index]; client.ObjectKeyFromObject(gateway) == name {
			return gateway
		}
	}
	return nil
}

// labels returns the labels of a namespace.
func (own *state) labels(namespace string) map[string]string {
	labels := map[string]string{"kubernetes.io/metadata.name": namespace}
	for _, known := range own.namespaces.Items {
		if known.Name == namespace {
			maps.Copy(labels, known.Labels)
		}
	}
	return labels
}

func (own *state) hasService(name types.NamespacedName) bool {
	for _, service := range own.services.Items {
		if client.ObjectKeyFromObject(&service) == name {
			return true
		}
	}
	return false
}

// isGranted returns whether a ReferenceGrant permits a reference of a route to a Service of another
// namespace.
func (own *state) isGranted(kind, from string, to types.NamespacedName) bool {
	for _, grant := range own.grants.Items {
		if grant.Namespace != to.Namespace {
			continue
		}
		hasFrom, hasTo := false, false
		for _, peer := range grant.Spec.From {
			hasFrom = hasFrom || string(peer.Group) == gatewayv1.GroupName &&
				string(peer.Kind) == kind && string(peer.Namespace) == from
		}
		for _, target := range grant.Spec.To {
			hasTo = hasTo || target.Group == "" && target.Kind == "Service" &&
				(target.Name == nil || string(*target.Name) == to.Name)
		}
		if hasFrom && hasTo {
			return true
		}
	}
	return false
}

// endpoints returns the endpoints of a port of a Service: those of its EndpointSlices, or the pods
// that its selector selects.
func (own *state) endpoints(service *corev1.Service, port corev1.ServicePort) []endpoint {
	var found []endpoint
	for _, slice := range own.slices.Items {
		isOwn := slice.Namespace == service.Namespace &&
			slice.Labels[discoveryv1.LabelServiceName] == service.Name
		if !isOwn || slice.AddressType != discoveryv1.AddressTypeIPv4 {
			continue
		}
		for _, target := range slice.Ports {
			if target.Name == nil || *target.Name != port.Name || target.Port == nil {
				continue
			}
			for _, host := range slice.Endpoints {
				for _, address := range host.Addresses {
					found = append(found, endpoint{address, int(*target.Port)})
				}
			}
		}
	}
	if len(service.Spec.Selector) == 0 {
		return found
	}
	selector := metav1.LabelSelector{MatchLabels: service.Spec.Selector}
	for _, pod := range own.pods.Items {
		if pod.Namespace == service.Namespace && selects(&selector, pod.Labels) {
			found = append(found, endpoint{pod.Status.PodIP, port.TargetPort.IntValue()})
		}
	}
	return found
}
