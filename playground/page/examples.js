// The examples of the list. Each has rules, and the fields of a request for them.

'use strict';

const EXAMPLES = [
  {
    name: 'One user to version 2',
    user: 'cheng',
    rules: `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: payment
spec:
  hosts: [payment]
  http:
  - match:
    - headers:
        end-user:
          exact: cheng
    route:
    - destination:
        host: payment
        subset: v2
  - route:
    - destination:
        host: payment
        subset: v1
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: payment
spec:
  host: payment
  subsets:
  - name: v1
    labels: {version: v1}
  - name: v2
    labels: {version: v2}
`,
  },
  {
    name: 'Shares by weight, the same version for each user',
    user: 'cheng',
    rules: `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: reviews
spec:
  hosts: [reviews]
  http:
  - route:
    - destination:
        host: reviews
        subset: v1
      weight: 90
    - destination:
        host: reviews
        subset: v2
      weight: 10
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: reviews
spec:
  host: reviews
  subsets:
  - name: v1
    labels: {version: v1}
  - name: v2
    labels: {version: v2}
---
# What Istio does not have: splits that are sticky by user.
sampling:
  key: [{header: end-user}]
  salt: "2026"
`,
  },
  {
    name: 'Delays, aborts and copies',
    path: '/ratings/1',
    rules: `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: ratings
spec:
  hosts: [ratings]
  http:
  - match:
    - uri:
        prefix: /ratings
    fault:
      delay:
        fixedDelay: 2s
        percentage:
          value: 30
      abort:
        httpStatus: 503
        percentage:
          value: 10
    mirror:
      host: ratings-next
    mirrorPercentage:
      value: 50
    route:
    - destination:
        host: ratings
  - directResponse:
      status: 404
`,
  },
  {
    name: 'Route of the Gateway API',
    path: '/api/v2/users?id=1',
    rules: `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: users
spec:
  parentRefs:
  - name: web
  hostnames: [shop.example.com]
  rules:
  - matches:
    - path: {type: PathPrefix, value: /api/v2}
    filters:
    - type: URLRewrite
      urlRewrite:
        path: {type: ReplacePrefixMatch, replacePrefixMatch: /}
    backendRefs:
    - {name: users, port: 8080, weight: 3}
    - {name: users-next, port: 8080, weight: 1}
  - backendRefs:
    - {name: web, port: 80}
`,
  },
  {
    name: 'Rules with errors',
    rules: `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: payment
spec:
  hosts: [payment]
  http:
  - match:
    - uri:
        prefx: /v2
    route:
    - destination:
        host: payment
  - fault:
      abort:
        httpStatus: 600
    route:
    - destination:
        host: payment
`,
  },
];
