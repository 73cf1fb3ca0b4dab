package gatewayapi

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// The statuses that the suite waits for say which listeners accept a route. They come from this
// file, and the requests are decided by the command and the filter: a test holds only if both
// agree.

// route is what an HTTPRoute and a GRPCRoute have in common.
type route struct {
	object    client.Object
	kind      gatewayv1.Kind
	common    gatewayv1.CommonRouteSpec
	hostnames []gatewayv1.Hostname
	backends  []gatewayv1.BackendObjectReference
	status    *gatewayv1.RouteStatus
}

// routes returns all routes.
func (own *state) routes() []route {
	var found []route
	for index := range own.httpRoutes.Items {
		object := &own.httpRoutes.Items[index]
		next := route{
			object: object, kind: "HTTPRoute", common: object.Spec.CommonRouteSpec,
			hostnames: object.Spec.Hostnames, status: &object.Status.RouteStatus,
		}
		for _, rule := range object.Spec.Rules {
			for _, backend := range rule.BackendRefs {
				next.backends = append(next.backends, backend.BackendObjectReference)
			}
			for _, filter := range rule.Filters {
				if filter.RequestMirror != nil {
					next.backends = append(next.backends, filter.RequestMirror.BackendRef)
				}
			}
		}
		found = append(found, next)
	}
	for index := range own.grpcRoutes.Items {
		object := &own.grpcRoutes.Items[index]
		next := route{
			object: object, kind: "GRPCRoute", common: object.Spec.CommonRouteSpec,
			hostnames: object.Spec.Hostnames, status: &object.Status.RouteStatus,
		}
		for _, rule := range object.Spec.Rules {
			for _, backend := range rule.BackendRefs {
				next.backends = append(next.backends, backend.BackendObjectReference)
			}
		}
		found = append(found, next)
	}
	return found
}

// parentName returns the Gateway of a parent reference.
func (own route) parentName(parent gatewayv1.ParentReference) types.NamespacedName {
	namespace := own.object.GetNamespace()
	if parent.Namespace != nil {
		namespace = string(*parent.Namespace)
	}
	return types.NamespacedName{Namespace: namespace, Name: string(parent.Name)}
}

// attach returns the listeners of a Gateway that accept a route; if there is none, the reason.
func (own *state) attach(
	route route, parent gatewayv1.ParentReference, gateway *gatewayv1.Gateway,
) ([]gatewayv1.SectionName, gatewayv1.RouteConditionReason) {
	var accepted []gatewayv1.SectionName
	reason := gatewayv1.RouteReasonNoMatchingParent
	for _, listener := range gateway.Spec.Listeners {
		hasName := parent.SectionName == nil || *parent.SectionName == listener.Name
		hasPort := parent.Port == nil || *parent.Port == listener.Port
		switch {
		case !hasName || !hasPort:
		case !slices.Contains(supportedKinds(listener), route.kind) ||
			!own.allows(listener, gateway.Namespace, route.object.GetNamespace()):
			if reason == gatewayv1.RouteReasonNoMatchingParent {
				reason = gatewayv1.RouteReasonNotAllowedByListeners
			}
		case !intersects(listener.Hostname, route.hostnames):
			reason = gatewayv1.RouteReasonNoMatchingListenerHostname
		default:
			accepted = append(accepted, listener.Name)
		}
	}
	if len(accepted) > 0 {
		reason = gatewayv1.RouteReasonAccepted
	}
	return accepted, reason
}

// supportedKinds returns the kinds of routes that a listener takes.
func supportedKinds(listener gatewayv1.Listener) []gatewayv1.Kind {
	var kinds []gatewayv1.Kind
	switch listener.Protocol {
	case gatewayv1.HTTPProtocolType, gatewayv1.HTTPSProtocolType:
		kinds = []gatewayv1.Kind{"HTTPRoute", "GRPCRoute"}
	default:
		return nil
	}
	if listener.AllowedRoutes == nil || len(listener.AllowedRoutes.Kinds) == 0 {
		return kinds
	}
	return slices.DeleteFunc(kinds, func(kind gatewayv1.Kind) bool {
		return !slices.ContainsFunc(listener.AllowedRoutes.Kinds,
			func(own gatewayv1.RouteGroupKind) bool { return own.Kind == kind })
	})
}

// allows returns whether a listener takes routes of a namespace.
func (own *state) allows(listener gatewayv1.Listener, gateway, namespace string) bool {
	from, selector := gatewayv1.NamespacesFromSame, (*metav1.LabelSelector)(nil)
	if allowed := listener.AllowedRoutes; allowed != nil && allowed.Namespaces != nil {
		selector = allowed.Namespaces.Selector
		if allowed.Namespaces.From != nil {
			from = *allowed.Namespaces.From
		}
	}
	switch from {
	case gatewayv1.NamespacesFromAll:
		return true
	case gatewayv1.NamespacesFromSelector:
		return selects(selector, own.labels(namespace))
	case gatewayv1.NamespacesFromSame:
		return gateway == namespace
	default:
		return false
	}
}

func selects(selector *metav1.LabelSelector, own map[string]string) bool {
	compiled, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && compiled.Matches(labels.Set(own))
}

// intersects returns whether a listener and a route have a host in common.
func intersects(listener *gatewayv1.Hostname, hostnames []gatewayv1.Hostname) bool {
	if listener == nil || *listener == "" || len(hostnames) == 0 {
		return true
	}
	return slices.ContainsFunc(hostnames, func(own gatewayv1.Hostname) bool {
		return includes(string(own), string(*listener)) || includes(string(*listener), string(own))
	})
}

// includes returns whether a hostname is `name`, or a wildcard that includes it.
func includes(hostname, name string) bool {
	suffix, isWildcard := strings.CutPrefix(hostname, "*")
	return hostname == name || isWildcard && strings.HasSuffix(name, suffix) && name != suffix
}

// resolve returns why a reference of a route is not valid; "ResolvedRefs" if all are.
func (own *state) resolve(route route) gatewayv1.RouteConditionReason {
	for _, backend := range route.backends {
		isService := (backend.Group == nil || *backend.Group == "") &&
			(backend.Kind == nil || *backend.Kind == "Service")
		from := route.object.GetNamespace()
		name := types.NamespacedName{Namespace: from, Name: string(backend.Name)}
		if backend.Namespace != nil {
			name.Namespace = string(*backend.Namespace)
		}
		switch {
		case !isService:
			return gatewayv1.RouteReasonInvalidKind
		case name.Namespace != from && !own.isGranted(string(route.kind), from, name):
			return gatewayv1.RouteReasonRefNotPermitted
		case !own.hasService(name):
			return gatewayv1.RouteReasonBackendNotFound
		}
	}
	return gatewayv1.RouteReasonResolvedRefs
}
