// Command istiod is pilot-discovery of Istio with an empty Kubernetes in its memory.
//
// Istio's own program can be started without Kubernetes, with its configuration in files (--configDir), but the version in go.mod
// then crashes: it asks a controller for namespaces that it has not made (newController of
// pilot/pkg/serviceregistry/serviceentry/controller.go). Istio's own tests put its fake client in place of Kubernetes, and so does
// this. All else is Istio's code as it is published.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"reflect"
	"syscall"
	"unsafe"

	"istio.io/istio/pilot/pkg/bootstrap"
	"istio.io/istio/pkg/ctrlz"
	"istio.io/istio/pkg/kube"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "istiod:", err)
		os.Exit(1)
	}
}

func run() error {
	config := flag.String("configDir", "", "folder with the configuration, as YAML")
	mesh := flag.String("meshConfig", "", "file with the configuration of the mesh")
	xds := flag.String("grpcAddr", "", "address of plaintext xDS")
	http := flag.String("httpAddr", "", "address of /ready and /debug")
	monitoring := flag.String("monitoringAddr", "", "address of the metrics")
	flag.Parse()
	args := bootstrap.NewPilotArgs(func(args *bootstrap.PilotArgs) {
		args.Namespace = "istio-system"
		args.PodName = "istiod"
		args.MeshConfigFile = *mesh
		args.CtrlZOptions = &ctrlz.Options{Address: "127.0.0.1", Port: 0}
		args.ServerOptions = bootstrap.DiscoveryServerOptions{
			HTTPAddr:       *http,
			GRPCAddr:       *xds,
			MonitoringAddr: *monitoring,
		}
		args.RegistryOptions.FileDir = *config
		args.RegistryOptions.KubeOptions.DomainSuffix = "cluster.local"
	})
	server, err := bootstrap.NewServer(args, useFakeClient)
	if err != nil {
		return err
	}
	stop := make(chan struct{})
	if err := server.Start(stop); err != nil {
		return err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	<-signals
	close(stop)
	server.WaitUntilCompletion()
	return nil
}

// useFakeClient sets a field that only tests in its own package can set by name.
func useFakeClient(server *bootstrap.Server) {
	field := reflect.ValueOf(server).Elem().FieldByName("kubeClient")
	client := reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem()
	client.Set(reflect.ValueOf(kube.NewFakeClient()))
}
