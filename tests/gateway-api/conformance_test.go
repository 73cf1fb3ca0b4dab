package gatewayapi

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/conformance"
	"sigs.k8s.io/gateway-api/conformance/tests"
	"sigs.k8s.io/gateway-api/conformance/utils/config"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/gateway-api/pkg/features"
)

const gatewayClass = "sluice"

// What becomes of a test, in the table of results.
const (
	holds          = "holds"
	leftOutBecause = "left out: "
)

// families are the starts of the names of the tests that run: those of routes, and that of which
// listener a request is for.
var families = []string{"HTTPRoute", "GRPC", "GatewayHTTPListenerIsolation"}

// variable returns an environment variable that has to be set.
func variable(t *testing.T, name string) string {
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set; run make test-gateway-api", name)
	}
	return value
}

// path returns the absolute path in an environment variable.
func path(t *testing.T, name string) string {
	path, err := filepath.Abs(variable(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestConformance(t *testing.T) {
	api, err := newAPI(variable(t, "GATEWAY_API_DEFINITIONS"))
	if err != nil {
		t.Fatal(err)
	}
	pods := newPods(path(t, "ECHO"))
	t.Cleanup(pods.stop)
	envoy, err := startEnvoy(path(t, "ENVOY"), path(t, "MODULES"), path(t, "OUTPUT"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(envoy.stop)
	plane := &controlPlane{
		api: api, pods: pods, envoy: envoy, command: path(t, "SLUICE"), modules: path(t, "MODULES"),
		isNative:  os.Getenv("ATTACH") == "native",
		addresses: map[types.NamespacedName]string{},
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		plane.run(ctx, func(err error) { fmt.Println("control plane:", err) })
		close(done)
	}()
	t.Cleanup(func() { cancel(); <-done })

	conformance := newSuite(t, api, pods)
	conformance.Setup(t, tests.ConformanceTests)
	results := map[string]string{}
	for _, test := range tests.ConformanceTests {
		only := os.Getenv("TEST")
		if !isOfFamily(test.ShortName) || only != "" && only != test.ShortName {
			continue
		}
		if reason, ok := leftOut[test.ShortName]; ok {
			results[test.ShortName] = leftOutBecause + reason
			continue
		}
		isSkipped := false
		succeeds := t.Run(test.ShortName, func(t *testing.T) {
			t.Cleanup(func() { isSkipped = t.Skipped() })
			test.Parallel = false
			test.Run(t, conformance)
		})
		switch {
		case isSkipped:
			results[test.ShortName] = "failed: the suite skipped it"
			t.Errorf("%s is skipped without a reason", test.ShortName)
		case succeeds:
			results[test.ShortName] = holds
		default:
			results[test.ShortName] = "failed"
		}
	}
	for name := range leftOut {
		if results[name] == "" && os.Getenv("TEST") == "" {
			t.Errorf("%s is left out, but the suite does not have it", name)
		}
	}
	if err := write(results, filepath.Join(path(t, "OUTPUT"), "results")); err != nil {
		t.Fatal(err)
	}
}

func isOfFamily(name string) bool {
	return slices.ContainsFunc(families, func(family string) bool {
		return strings.HasPrefix(name, family)
	})
}

// newSuite returns the suite, after adding the GatewayClass that it needs.
func newSuite(t *testing.T, api *api, pods *pods) *suite.ConformanceTestSuite {
	class := &gatewayv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: gatewayClass}}
	class.Spec.ControllerName = controllerName
	ctx := context.Background()
	if err := api.client.Create(ctx, class); err != nil {
		t.Fatal(err)
	}
	setCondition(&class.Status.Conditions, class, "Accepted", "Accepted", "Accepted")
	if err := api.store.Status().Update(ctx, class); err != nil {
		t.Fatal(err)
	}
	clientset, err := pods.clientset()
	if err != nil {
		t.Fatal(err)
	}
	supported := features.SetsToNamesSet(features.AllFeatures)
	// Meshes have tests and workloads of their own.
	for name := range supported {
		if strings.HasPrefix(string(name), "Mesh") {
			supported.Delete(name)
		}
	}
	// Statuses are written at once or never. The limits of requests are those of the suite.
	limit := 20 * time.Second
	timeouts := config.DefaultTimeoutConfig()
	timeouts.GatewayMustHaveAddress, timeouts.GatewayMustHaveCondition = limit, limit
	timeouts.GatewayStatusMustHaveListeners, timeouts.RouteMustHaveParents = limit, limit
	timeouts.GatewayListenersMustHaveConditions = limit
	timeouts.HTTPRouteMustHaveCondition = limit
	conformance, err := suite.NewConformanceTestSuite(suite.ConformanceOptions{
		ConfigurableOptions: suite.ConfigurableOptions{
			GatewayClassName: gatewayClass, CleanupTestResources: true,
			SupportedFeatures: supported.UnsortedList(), TimeoutConfig: timeouts,
			AllowCRDsMismatch: true,
		},
		Client: api.client, Clientset: clientset, ManifestFS: []fs.FS{&conformance.Manifests},
	})
	if err != nil {
		t.Fatal(err)
	}
	return conformance
}

// write writes the results as a table to a file.
func write(results map[string]string, file string) error {
	held, left := 0, 0
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(results)) {
		result := results[name]
		if result == holds {
			held++
		}
		if strings.HasPrefix(result, leftOutBecause) {
			left++
		}
		fmt.Fprintf(&text, "%-52s %s\n", name, result)
	}
	run := len(results) - left
	fmt.Fprintf(&text, "%d of %d tests hold, %d failed, %d of %d are left out\n",
		held, run, run-held, left, len(results))
	return os.WriteFile(file, []byte(text.String()), 0o600)
}
