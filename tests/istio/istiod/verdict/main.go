// Command verdict says of objects of Istio and of the Gateway API whether a Kubernetes API server with Istio accepts them: metadata, the
// schemas and CEL rules of the CustomResourceDefinitions with unknown fields as errors, and the validation of istiod's webhook.
//
//	verdict -crds FILE [-crds FILE...] PATH...
//
// A FILE has CustomResourceDefinitions. A PATH is a file, or a folder whose files *.yaml, *.yml and *.json are read. One line of JSON is
// printed for each document of Istio's networking API and for each route of the Gateway API; others are skipped.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/hashicorp/go-multierror"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kubejson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kubeyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	pilotcrd "istio.io/istio/pilot/pkg/config/kube/crd"
	"istio.io/istio/pkg/config/crd"
	"istio.io/istio/pkg/config/schema/collections"
	"istio.io/istio/pkg/config/schema/resource"
	"istio.io/istio/pkg/log"
)

// verdict is a line of the output.
type verdict struct {
	File     string   `json:"file"`
	Document int      `json:"document"`
	Kind     string   `json:"kind"`
	Name     string   `json:"name"`
	Verdict  string   `json:"verdict"`
	By       string   `json:"by,omitempty"`
	Messages []string `json:"messages,omitempty"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "verdict:", err)
		os.Exit(1)
	}
}

func run() error {
	var definitions []string
	flag.Func("crds", "a file with CustomResourceDefinitions", func(file string) error {
		definitions = append(definitions, file)
		return nil
	})
	flag.Parse()
	if len(definitions) == 0 || flag.NArg() == 0 {
		return errors.New("usage: verdict -crds FILE [-crds FILE...] PATH...")
	}
	// The output is for verdicts. Some packages log to it before this, while they are initialized.
	options := log.DefaultOptions()
	options.OutputPaths = []string{"stderr"}
	options.SetDefaultOutputLevel(log.OverrideScopeName, log.NoneLevel)
	if err := log.Configure(options); err != nil {
		return err
	}
	validator, err := newValidator(definitions)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	lines := json.NewEncoder(out)
	for _, path := range flag.Args() {
		err := filepath.WalkDir(path, func(file string, entry fs.DirEntry, err error) error {
			isYAML := slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(file))
			if err != nil || entry.IsDir() || (!isYAML && file != path) {
				return err
			}
			return judgeFile(validator, file, lines)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// validator does what the API server does with an object.
type validator struct {
	*crd.Validator
	schemas map[schema.GroupVersionKind]*structural.Structural
}

func newValidator(files []string) (*validator, error) {
	own, err := crd.NewValidatorFromFilesWithOptions(files, crd.WithoutCRDValidation())
	if err != nil {
		return nil, err
	}
	found := &validator{own, map[schema.GroupVersionKind]*structural.Structural{}}
	for _, file := range files {
		if err := found.addSchemas(file); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// addSchemas adds the schemas of a file of CustomResourceDefinitions.
func (v *validator) addSchemas(file string) error {
	opened, err := os.Open(file)
	if err != nil {
		return err
	}
	defer opened.Close()
	documents := kubeyaml.NewYAMLOrJSONDecoder(opened, 4096)
	for {
		var definition apiextensionsv1.CustomResourceDefinition
		if err := documents.Decode(&definition); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if definition.Kind != "CustomResourceDefinition" {
			continue
		}
		for _, version := range definition.Spec.Versions {
			var props apiextensions.JSONSchemaProps
			err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(version.Schema.OpenAPIV3Schema, &props, nil)
			if err != nil {
				return err
			}
			found, err := structural.NewStructural(&props)
			if err != nil {
				return err
			}
			kind := definition.Spec.Names.Kind
			v.schemas[schema.GroupVersionKind{Group: definition.Spec.Group, Version: version.Name, Kind: kind}] = found
		}
	}
}

func judgeFile(validator *validator, file string, lines *json.Encoder) error {
	opened, err := os.Open(file)
	if err != nil {
		return err
	}
	defer opened.Close()
	documents := kubeyaml.NewYAMLReader(bufio.NewReader(opened))
	for index := 0; ; index++ {
		text, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		found := judge(validator, text)
		if found == nil {
			continue
		}
		found.File, found.Document = file, index
		if err := lines.Encode(found); err != nil {
			return err
		}
	}
}

// judge returns nil for documents that are neither of Istio's networking API nor routes of the Gateway API.
func judge(validator *validator, text []byte) *verdict {
	refused := func(v verdict, by string, err error) *verdict {
		v.Verdict, v.By = "refuse", by
		for _, err := range flatten(err) {
			v.Messages = append(v.Messages, err.Error())
		}
		return &v
	}
	asJSON, err := yaml.YAMLToJSON(text)
	if err != nil {
		return refused(verdict{}, "yaml", err)
	}
	object := &unstructured.Unstructured{}
	// As in the API server, whole numbers are integers.
	if err := kubejson.Unmarshal(asJSON, &object.Object); err != nil || object.Object == nil {
		return nil
	}
	group := object.GroupVersionKind().Group
	isRoute := group == "gateway.networking.k8s.io" && slices.Contains([]string{"HTTPRoute", "GRPCRoute"}, object.GetKind())
	if group != "networking.istio.io" && !isRoute {
		return nil
	}
	found := verdict{Kind: object.GetKind(), Name: object.GetName()}
	if err := checkMetadata(asJSON); err != nil {
		return refused(found, "metadata", err)
	}
	if object.GetNamespace() == "" {
		object.SetNamespace("default")
	}
	// The API server removes null where the schema does not allow it (customresource_handler.go), unlike the validator.
	if schema := validator.schemas[object.GroupVersionKind()]; schema != nil {
		defaulting.PruneNonNullableNullsWithoutDefaults(object.Object, schema)
	}
	// The validator sets the defaults of the schema, as the API server does before it calls the webhook.
	if err := validator.ValidateCustomResource(object); err != nil {
		return refused(found, "schema", err)
	}
	// istiod's webhook is not registered for routes.
	if !isRoute {
		if err := callWebhook(object); err != nil {
			return refused(found, "webhook", err)
		}
	}
	found.Verdict = "accept"
	return &found
}

// checkMetadata does what the API server does for each object of a namespace.
func checkMetadata(asJSON []byte) error {
	var object struct {
		Metadata metav1.ObjectMeta `json:"metadata"`
	}
	if err := json.Unmarshal(asJSON, &object); err != nil {
		return err
	}
	meta := &object.Metadata
	if meta.Namespace == "" {
		meta.Namespace = "default"
	}
	if meta.Name == "" && meta.GenerateName != "" {
		meta.Name = meta.GenerateName + "x"
	}
	return apivalidation.ValidateObjectMeta(meta, true, apivalidation.NameIsDNSSubdomain, field.NewPath("metadata")).ToAggregate()
}

// callWebhook does what istiod's webhook does (validate of pkg/webhooks/validation/server).
func callWebhook(object *unstructured.Unstructured) error {
	asJSON, err := json.Marshal(object.Object)
	if err != nil {
		return err
	}
	var kind pilotcrd.IstioKind
	if err := json.Unmarshal(asJSON, &kind); err != nil {
		return err
	}
	gvk := kind.GroupVersionKind()
	schema, exists := collections.PilotGatewayAPI().FindByGroupKind(resource.FromKubernetesGVK(&gvk))
	if !exists {
		return fmt.Errorf("unrecognized type %v", gvk)
	}
	config, err := pilotcrd.ConvertObject(schema, &kind, "cluster.local")
	if err != nil {
		return err
	}
	_, err = schema.ValidateConfig(*config)
	return err
}

func flatten(err error) []error {
	var several *multierror.Error
	if errors.As(err, &several) {
		return several.Errors
	}
	return []error{err}
}
