package gatewayapi

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// noRoutes is what the command says of files without anything for the filter.
const noRoutes = "no file has a plugin document"

// controlPlane configures Envoy by the objects of an API, with the documents that the command
// renders, and then writes the statuses.
type controlPlane struct {
	api      *api
	pods     *pods
	envoy    *envoy
	command  string
	modules  string
	isNative bool
	// The address of each Gateway that there has been
	addresses map[types.NamespacedName]string
}

// run handles changes until the context ends.
func (own *controlPlane) run(ctx context.Context, report func(error)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-own.api.changed:
		}
		// The suite applies several objects one after another.
		time.Sleep(20 * time.Millisecond)
		limited, cancel := context.WithTimeout(ctx, 20*time.Second)
		if err := own.reconcile(limited); err != nil && ctx.Err() == nil {
			report(err)
		}
		cancel()
	}
}

func (own *controlPlane) reconcile(ctx context.Context) error {
	if err := own.pods.start(ctx, own.api.store); err != nil {
		return err
	}
	state, err := readState(ctx, own.api.store)
	if err != nil {
		return err
	}
	listeners, err := own.listeners(ctx, state)
	if err != nil {
		return err
	}
	if err := own.envoy.apply(ctx, state.clusters(), listeners); err != nil {
		return err
	}
	return state.writeStatuses(ctx, own.api.store, own.address)
}

// address returns the address of a Gateway, on the service network.
func (own *controlPlane) address(gateway *gatewayv1.Gateway) string {
	name := client.ObjectKeyFromObject(gateway)
	if own.addresses[name] == "" {
		own.addresses[name] = fmt.Sprintf("10.96.0.%d", len(own.addresses)+1)
	}
	return own.addresses[name]
}

// listeners returns a listener of Envoy for each port of each Gateway.
func (own *controlPlane) listeners(ctx context.Context, state *state) ([]any, error) {
	manifest, err := state.manifest(own.api.store.Scheme())
	if err != nil {
		return nil, err
	}
	var found []any
	for index := range state.gateways.Items {
		gateway := &state.gateways.Items[index]
		ports := map[gatewayv1.PortNumber]bool{}
		for _, first := range gateway.Spec.Listeners {
			isHTTP := len(supportedKinds(gatewayv1.Listener{Protocol: first.Protocol})) > 0
			if ports[first.Port] || !isHTTP {
				continue
			}
			ports[first.Port] = true
			name := gateway.Namespace + "/" + gateway.Name
			document, err := own.render(ctx, manifest, name, int(first.Port))
			if err != nil {
				return nil, err
			}
			name = fmt.Sprintf("%s:%d", name, first.Port)
			manager := connectionManager(
				name, document, filter(own.modules, own.isNative, document))
			found = append(found, listener(name, own.address(gateway), int(first.Port), manager,
				state.tlsChains(gateway, first.Port)))
		}
	}
	return found, nil
}

// render returns the document of a port of a Gateway; empty if no route is attached to it.
func (own *controlPlane) render(
	ctx context.Context, manifest []byte, gateway string, port int,
) (string, error) {
	command := exec.CommandContext(ctx, own.command, "render", "-", "--to", "plugin-json",
		"--gateway", gateway, "--proxy-port", fmt.Sprint(port))
	var out, errors bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = bytes.NewReader(manifest), &out, &errors
	err := command.Run()
	if err != nil && strings.Contains(errors.String(), noRoutes) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("sluice render for %s: %w: %s", gateway, err, &errors)
	}
	return out.String(), nil
}

// tlsChains returns a filter chain for each HTTPS listener of a port.
func (own *state) tlsChains(gateway *gatewayv1.Gateway, port gatewayv1.PortNumber) []tlsChain {
	var chains []tlsChain
	for _, listener := range gateway.Spec.Listeners {
		isTLS := listener.Protocol == gatewayv1.HTTPSProtocolType && listener.TLS != nil
		if listener.Port != port || !isTLS || len(listener.TLS.CertificateRefs) == 0 {
			continue
		}
		reference := listener.TLS.CertificateRefs[0]
		name := types.NamespacedName{Namespace: gateway.Namespace, Name: string(reference.Name)}
		if reference.Namespace != nil {
			name.Namespace = string(*reference.Namespace)
		}
		chain := tlsChain{}
		if listener.Hostname != nil {
			chain.serverName = string(*listener.Hostname)
		}
		for _, secret := range own.secrets.Items {
			if client.ObjectKeyFromObject(&secret) == name {
				chain.certificate = string(secret.Data[corev1.TLSCertKey])
				chain.key = string(secret.Data[corev1.TLSPrivateKeyKey])
				chains = append(chains, chain)
			}
		}
	}
	return chains
}

// clusters returns a cluster of Envoy for each port of each Service, with the names that the filter
// uses by default.
func (own *state) clusters() []any {
	var found []any
	for index := range own.services.Items {
		service := &own.services.Items[index]
		for _, port := range service.Spec.Ports {
			name := fmt.Sprintf("outbound|%d||%s.%s.svc.cluster.local",
				port.Port, service.Name, service.Namespace)
			isHTTP2 := port.AppProtocol != nil && *port.AppProtocol == "kubernetes.io/h2c"
			found = append(found, cluster(name, isHTTP2, own.endpoints(service, port)))
		}
	}
	return found
}
