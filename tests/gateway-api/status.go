package gatewayapi

import (
	"context"
	"reflect"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

const controllerName = "sluice.invalid/gateway-api"

// setCondition sets a condition of an object, which is true if the reason is `positive`.
func setCondition(
	conditions *[]metav1.Condition, object client.Object, name, reason, positive string,
) {
	status := metav1.ConditionTrue
	if reason != positive {
		status = metav1.ConditionFalse
	}
	meta.SetStatusCondition(conditions, metav1.Condition{
		Type: name, Status: status, Reason: reason, ObservedGeneration: object.GetGeneration(),
	})
}

// writeStatuses writes the statuses of all routes and Gateways. The Gateways have the addresses.
func (own *state) writeStatuses(
	ctx context.Context, store client.Client, address func(*gatewayv1.Gateway) string,
) error {
	attached := map[string]int32{}
	for _, route := range own.routes() {
		before := route.status.DeepCopy()
		own.setRouteStatus(route, attached)
		if reflect.DeepEqual(before, route.status) {
			continue
		}
		if err := ignoreOld(store.Status().Update(ctx, route.object)); err != nil {
			return err
		}
	}
	for index := range own.gateways.Items {
		gateway := &own.gateways.Items[index]
		before := gateway.Status.DeepCopy()
		setGatewayStatus(gateway, address(gateway), attached)
		if reflect.DeepEqual(before, &gateway.Status) {
			continue
		}
		if err := ignoreOld(store.Status().Update(ctx, gateway)); err != nil {
			return err
		}
	}
	return nil
}

// setRouteStatus sets the status of a route, and counts it for the listeners that accept it.
func (own *state) setRouteStatus(route route, attached map[string]int32) {
	var parents []gatewayv1.RouteParentStatus
	for _, parent := range route.common.ParentRefs {
		gateway := own.gateway(route.parentName(parent))
		if gateway == nil {
			continue
		}
		listeners, accepted := own.attach(route, parent, gateway)
		for _, listener := range listeners {
			attached[listenerKey(gateway, listener)]++
		}
		next := gatewayv1.RouteParentStatus{ParentRef: parent, ControllerName: controllerName}
		known := slices.IndexFunc(route.status.Parents, func(own gatewayv1.RouteParentStatus) bool {
			return reflect.DeepEqual(own.ParentRef, parent)
		})
		if known >= 0 {
			next.Conditions = route.status.Parents[known].Conditions
		}
		setCondition(&next.Conditions, route.object, string(gatewayv1.RouteConditionAccepted),
			string(accepted), string(gatewayv1.RouteReasonAccepted))
		setCondition(&next.Conditions, route.object, string(gatewayv1.RouteConditionResolvedRefs),
			string(own.resolve(route)), string(gatewayv1.RouteReasonResolvedRefs))
		parents = append(parents, next)
	}
	route.status.Parents = parents
}

func listenerKey(gateway *gatewayv1.Gateway, listener gatewayv1.SectionName) string {
	return gateway.Namespace + "/" + gateway.Name + "/" + string(listener)
}

func setGatewayStatus(gateway *gatewayv1.Gateway, address string, attached map[string]int32) {
	status := &gateway.Status
	kind := gatewayv1.IPAddressType
	status.Addresses = []gatewayv1.GatewayStatusAddress{{Type: &kind, Value: address}}
	for _, name := range []string{"Accepted", "Programmed"} {
		setCondition(&status.Conditions, gateway, name, name, name)
	}
	var listeners []gatewayv1.ListenerStatus
	for _, listener := range gateway.Spec.Listeners {
		next := gatewayv1.ListenerStatus{
			Name: listener.Name, AttachedRoutes: attached[listenerKey(gateway, listener.Name)],
			SupportedKinds: []gatewayv1.RouteGroupKind{},
		}
		known := slices.IndexFunc(status.Listeners, func(own gatewayv1.ListenerStatus) bool {
			return own.Name == listener.Name
		})
		if known >= 0 {
			next.Conditions = status.Listeners[known].Conditions
		}
		group := gatewayv1.Group(gatewayv1.GroupName)
		for _, kind := range supportedKinds(listener) {
			next.SupportedKinds = append(next.SupportedKinds,
				gatewayv1.RouteGroupKind{Group: &group, Kind: kind})
		}
		for _, name := range []string{"Accepted", "Programmed", "ResolvedRefs"} {
			setCondition(&next.Conditions, gateway, name, name, name)
		}
		listeners = append(listeners, next)
	}
	status.Listeners = listeners
}

// ignoreOld ignores that an object has changed or is deleted: the change is handled next.
func ignoreOld(err error) error {
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
