package gatewayapi

const statusesOnly = "tests statuses of objects only, which a control plane writes"

// leftOut are the tests of HTTPRoutes and GRPCRoutes that do not run, with the reasons.
var leftOut = map[string]string{
	"HTTPRouteDisallowedKind":                             statusesOnly,
	"HTTPRouteInvalidCrossNamespaceParentRef":             statusesOnly,
	"HTTPRouteInvalidParentRefNotMatchingListenerPort":    statusesOnly,
	"HTTPRouteInvalidParentRefNotMatchingSectionName":     statusesOnly,
	"HTTPRouteInvalidParentRefSectionNameNotMatchingPort": statusesOnly,
	"HTTPRouteObservedGenerationBump":                     statusesOnly,
	"HTTPRouteHTTPSListenerDetectMisdirectedRequests": "421 for the host of another TLS " +
		"listener; the filter does not know the listeners",
}
