package v1alpha1_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// The smallest objects that the API server accepts.
const (
	baseIMApp = `
apiVersion: groupgate.io/v1alpha1
kind: IMApp
metadata: {name: base}
spec: {sdkAppID: 1400000000, region: Singapore, adminAccount: administrator, credentialsSecretRef: {name: prod-im}}
`
	baseAccountList = `
apiVersion: groupgate.io/v1alpha1
kind: AccountList
metadata: {name: base}
spec: {accounts: []}
`
	baseGroupPolicy = `
apiVersion: groupgate.io/v1alpha1
kind: GroupPolicy
metadata: {name: base}
spec: {appRef: {name: prod}, groups: [{value: "@TGS#2J4SZEAEL"}], join: {}}
`
	basePrunePolicy = `
apiVersion: groupgate.io/v1alpha1
kind: GroupPolicy
metadata: {name: base}
spec: {appRef: {name: prod}, groups: [{type: All}], whenFull: {prune: {mode: Preview, inactiveFor: 30d}}}
`
	baseEvictPolicy = `
apiVersion: groupgate.io/v1alpha1
kind: GroupPolicy
metadata: {name: base}
spec: {appRef: {name: prod}, groups: [{type: All}], join: {allow: {accounts: [jared]}, evict: {mode: Preview}}}
`
	basePruneRun = `
apiVersion: groupgate.io/v1alpha1
kind: PruneRun
metadata: {name: base}
spec: {appRef: {name: prod}, groupID: "@TGS#2J4SZEAEL"}
`
)

const rejectsNobody = `spec.join.reject: Invalid value: reject needs an allow, a deny, or a rejoinAfter above 0s: without one this policy rejects nobody; an allow with nothing after it counts as absent, write {} to admit nobody`

// mutation is a JSON merge patch in YAML and the error of the API server; empty: accepted.
type mutation struct {
	patch string
	want  string
}

// mutations are all of them, by what they change.
var mutations = map[string]struct {
	base      string
	mutations map[string]mutation
}{
	"IMApp":                 {baseIMApp, imAppMutations},
	"AccountList":           {baseAccountList, accountListMutations},
	"GroupPolicy":           {baseGroupPolicy, groupPolicyMutations},
	"GroupPolicy, selector": {baseGroupPolicy, selectorMutations("allow")},
	"GroupPolicy, deny":     {baseGroupPolicy, selectorMutations("deny")},
	"GroupPolicy, whenFull": {basePrunePolicy, prunePolicyMutations},
	"GroupPolicy, evict":    {baseEvictPolicy, evictPolicyMutations},
	"PruneRun":              {basePruneRun, pruneRunMutations},
}

func TestSchema(t *testing.T) {
	c := newClient(t)
	namespace := newNamespace(t, c)
	for kind, tc := range mutations {
		for name, m := range tc.mutations {
			t.Run(kind+", "+name, func(t *testing.T) {
				object := mutate(t, tc.base, m.patch)
				object.SetNamespace(namespace)
				// A dry run skips only etcd.
				err := c.Create(t.Context(), object, client.DryRunAll)
				if diff := cmp.Diff(m.want, complaint(t, err)); diff != "" {
					t.Errorf("complaint (-want,+got):\n%s", diff)
				}
			})
		}
	}
}

var imAppMutations = map[string]mutation{
	"as it is":        {`{}`, ``},
	"63 characters":   {`metadata: {name: ` + strings.Repeat("a", 63) + `}`, ``},
	"64 characters":   {`metadata: {name: ` + strings.Repeat("a", 64) + `}`, `<nil>: Invalid value: metadata.name must be at most 63 characters: it becomes a label value of every PruneRun`},
	"no spec":         {`spec: null`, `spec: Required value`},
	"unknown field":   {`spec: {url: "https://example.com"}`, `IMApp in version "v1alpha1" cannot be handled as a IMApp: strict decoding error: unknown field "spec.url"`},
	"no sdkAppID":     {`spec: {sdkAppID: null}`, `spec.sdkAppID: Required value`},
	"sdkAppID 0":      {`spec: {sdkAppID: 0}`, `spec.sdkAppID: Invalid value: 0: spec.sdkAppID in body should be greater than or equal to 1`},
	"sdkAppID 1":      {`spec: {sdkAppID: 1}`, ``},
	"largest":         {`spec: {sdkAppID: 9007199254740991}`, ``},
	"too large":       {`spec: {sdkAppID: 9007199254740992}`, `spec.sdkAppID: Invalid value: 9007199254740992: spec.sdkAppID in body should be less than or equal to 9007199254740991`},
	"sdkAppID text":   {`spec: {sdkAppID: "1400000000"}`, `spec.sdkAppID: Invalid value: "string": spec.sdkAppID in body must be of type integer: "string"`},
	"no region":       {`spec: {region: null}`, `spec.region: Required value`},
	"region a URL":    {`spec: {region: "https://example.com"}`, `spec.region: Unsupported value: "https://example.com": supported values: "China", "Singapore", "Seoul", "Tokyo", "Frankfurt", "SiliconValley", "Jakarta", "Riyadh"`},
	"China":           {`spec: {region: China}`, ``},
	"Seoul":           {`spec: {region: Seoul}`, ``},
	"Tokyo":           {`spec: {region: Tokyo}`, ``},
	"Frankfurt":       {`spec: {region: Frankfurt}`, ``},
	"SiliconValley":   {`spec: {region: SiliconValley}`, ``},
	"Jakarta":         {`spec: {region: Jakarta}`, ``},
	"Riyadh":          {`spec: {region: Riyadh}`, ``},
	"no admin":        {`spec: {adminAccount: null}`, `spec.adminAccount: Required value`},
	"empty admin":     {`spec: {adminAccount: ""}`, `spec.adminAccount: Invalid value: "": spec.adminAccount in body should be at least 1 chars long`},
	"admin 32 bytes":  {`spec: {adminAccount: ` + strings.Repeat("é", 16) + `}`, ``},
	"admin 33 bytes":  {`spec: {adminAccount: ` + strings.Repeat("管", 11) + `}`, `spec.adminAccount: Invalid value: "管管管管管管管管管管管": adminAccount must be at most 32 bytes of UTF-8`},
	"admin 33 long":   {`spec: {adminAccount: ` + strings.Repeat("a", 33) + `}`, `spec.adminAccount: Too long: may not be more than 32 bytes`},
	"no Secret":       {`spec: {credentialsSecretRef: null}`, `spec.credentialsSecretRef: Required value`},
	"Secret unnamed":  {`spec: {credentialsSecretRef: {name: null}}`, `spec.credentialsSecretRef.name: Required value`},
	"Secret empty":    {`spec: {credentialsSecretRef: {name: ""}}`, `spec.credentialsSecretRef.name: Invalid value: "": spec.credentialsSecretRef.name in body should be at least 1 chars long`},
	"Secret 253":      {`spec: {credentialsSecretRef: {name: ` + strings.Repeat("a", 253) + `}}`, ``},
	"Secret 254":      {`spec: {credentialsSecretRef: {name: ` + strings.Repeat("a", 254) + `}}`, `spec.credentialsSecretRef.name: Too long: may not be more than 253 bytes`},
	"no signature":    {`spec: {callbackAuthentication: None}`, ``},
	"other signature": {`spec: {callbackAuthentication: Basic}`, `spec.callbackAuthentication: Unsupported value: "Basic": supported values: "Token", "None"`},
	"reject":          {`spec: {unmatchedGroups: Reject}`, ``},
	"audit":           {`spec: {unmatchedGroups: Audit}`, `spec.unmatchedGroups: Unsupported value: "Audit": supported values: "Allow", "Reject"`},
	"1 a second":      {`spec: {rest: {requestsPerSecond: 1}}`, ``},
	"200 a second":    {`spec: {rest: {requestsPerSecond: 200}}`, ``},
	"0 a second":      {`spec: {rest: {requestsPerSecond: 0}}`, `spec.rest.requestsPerSecond: Invalid value: 0: spec.rest.requestsPerSecond in body should be greater than or equal to 1`},
	"201 a second":    {`spec: {rest: {requestsPerSecond: 201}}`, `spec.rest.requestsPerSecond: Invalid value: 201: spec.rest.requestsPerSecond in body should be less than or equal to 200`},
	"suspended":       {`spec: {pruning: Suspended}`, ``},
	"paused":          {`spec: {pruning: Paused}`, `spec.pruning: Unsupported value: "Paused": supported values: "Enabled", "Suspended"`},
}

var accountListMutations = map[string]mutation{
	"as it is":               {`{}`, ``},
	"no spec":                {`spec: null`, `spec: Required value`},
	"no accounts":            {`spec: {accounts: null}`, `spec.accounts: Required value`},
	"20,000 accounts":        {`spec: {accounts: [` + accounts(20000) + `]}`, ``},
	"20,001 accounts":        {`spec: {accounts: [` + accounts(20001) + `]}`, `spec.accounts: Too many: 20001: must have at most 20000 items`},
	"empty account":          {`spec: {accounts: [jared, ""]}`, `spec.accounts[1]: Invalid value: "": spec.accounts[1] in body should be at least 1 chars long`},
	"32 characters":          {`spec: {accounts: [` + strings.Repeat("a", 32) + `]}`, ``},
	"32 Chinese characters":  {`spec: {accounts: [` + strings.Repeat("客", 32) + `]}`, ``},
	"33 characters":          {`spec: {accounts: [` + strings.Repeat("a", 33) + `]}`, `spec.accounts[0]: Too long: may not be more than 32 bytes`},
	"twice, and other cases": {`spec: {accounts: [jared, jared, Jared]}`, ``},
	"a number":               {`spec: {accounts: [10001]}`, `spec.accounts[0]: Invalid value: "integer": spec.accounts[0] in body must be of type string: "integer"`},
}

var groupPolicyMutations = map[string]mutation{
	"as it is":            {`{}`, ``},
	"no spec":             {`spec: null`, `spec: Required value`},
	"neither section":     {`spec: {join: null}`, `spec: Invalid value: set at least one of join and whenFull: a policy with neither does nothing`},
	"both sections":       {`spec: {whenFull: {prune: {mode: Enforce, inactiveFor: 30d}}}`, ``},
	"no appRef":           {`spec: {appRef: null}`, `spec.appRef: Required value`},
	"empty app":           {`spec: {appRef: {name: ""}}`, `spec.appRef.name: Invalid value: "": spec.appRef.name in body should be at least 1 chars long`},
	"app 63":              {`spec: {appRef: {name: ` + strings.Repeat("a", 63) + `}}`, ``},
	"app 64":              {`spec: {appRef: {name: ` + strings.Repeat("a", 64) + `}}`, `spec.appRef.name: Too long: may not be more than 63 bytes`},
	"no groups":           {`spec: {groups: null}`, `spec.groups: Required value`},
	"0 groups":            {`spec: {groups: []}`, `spec.groups: Invalid value: 0: spec.groups in body should have at least 1 items`},
	"256 groups":          {`spec: {groups: [` + repeat(256, `{type: Prefix, value: p%d}`) + `]}`, ``},
	"257 groups":          {`spec: {groups: [` + repeat(257, `{type: Prefix, value: p%d}`) + `]}`, `spec.groups: Too many: 257: must have at most 256 items`},
	"matcher type":        {`spec: {groups: [{type: Suffix, value: x}]}`, `spec.groups[0].type: Unsupported value: "Suffix": supported values: "Exact", "Prefix", "All"`},
	"Exact, no value":     {`spec: {groups: [{type: Exact}]}`, `spec.groups[0].value: Required value: value is required when type is Exact or Prefix`},
	"default, no value":   {`spec: {groups: [{}]}`, `spec.groups[0].value: Required value: value is required when type is Exact or Prefix`},
	"Prefix, no value":    {`spec: {groups: [{type: Prefix}]}`, `spec.groups[0].value: Required value: value is required when type is Exact or Prefix`},
	"Prefix, empty":       {`spec: {groups: [{type: Prefix, value: ""}]}`, `spec.groups[0].value: Invalid value: "": spec.groups[0].value in body should be at least 1 chars long`},
	"All":                 {`spec: {groups: [{type: All}]}`, ``},
	"All with a value":    {`spec: {groups: [{type: All, value: x}]}`, `spec.groups[0].value: Forbidden: value must not be set when type is All`},
	"value 96 bytes":      {`spec: {groups: [{value: ` + strings.Repeat("é", 48) + `}]}`, ``},
	"value 97 characters": {`spec: {groups: [{value: ` + strings.Repeat("a", 97) + `}]}`, `spec.groups[0].value: Too long: may not be more than 96 bytes`},
	"value 98 bytes":      {`spec: {groups: [{value: ` + strings.Repeat("é", 49) + `}]}`, `spec.groups[0].value: Invalid value: "ééééééééééééééééééééééééééééééééééééééééééééééééé": value must be at most 96 bytes of UTF-8`},
	"every group type":    {`spec: {groupTypes: [Work, Public, Meeting, AVChatRoom, Community]}`, ``},
	"0 group types":       {`spec: {groupTypes: []}`, `spec.groupTypes: Invalid value: 0: spec.groupTypes in body should have at least 1 items`},
	"6 group types":       {`spec: {groupTypes: [Work, Public, Meeting, AVChatRoom, Community, Work]}`, `spec.groupTypes: Too many: 6: must have at most 5 items`},
	"group type alias":    {`spec: {groupTypes: [Private]}`, `spec.groupTypes[0]: Unsupported value: "Private": supported values: "Work", "Public", "Meeting", "AVChatRoom", "Community"`},
	"Audit":               {`spec: {join: {mode: Audit}}`, ``},
	"join mode":           {`spec: {join: {mode: "Off"}}`, `spec.join.mode: Unsupported value: "Off": supported values: "Enforce", "Audit"`},
	"one trigger":         {`spec: {join: {triggers: [RESTAPI]}}`, ``},
	"0 triggers":          {`spec: {join: {triggers: []}}`, `spec.join.triggers: Invalid value: 0: spec.join.triggers in body should have at least 1 items`},
	"4 triggers":          {`spec: {join: {triggers: [Apply, Invite, RESTAPI, Apply]}}`, `spec.join.triggers: Too many: 4: must have at most 3 items`},
	"trigger":             {`spec: {join: {triggers: [Import]}}`, `spec.join.triggers[0]: Unsupported value: "Import": supported values: "Apply", "Invite", "RESTAPI"`},
	"reject alone":        {`spec: {join: {reject: {}}}`, rejectsNobody},
	"reject, 0s":          {`spec: {join: {reject: {}}, whenFull: {prune: {mode: Preview, inactiveFor: 30d, rejoinAfter: 0s}}}`, rejectsNobody},
	"reject, 0d00h":       {`spec: {join: {reject: {}}, whenFull: {prune: {mode: Preview, inactiveFor: 30d, rejoinAfter: 0d00h}}}`, rejectsNobody},
	"reject, no rejoin":   {`spec: {join: {reject: {}}, whenFull: {prune: {mode: Preview, inactiveFor: 30d}}}`, rejectsNobody},
	"reject, null allow":  {`spec: {join: {allow: null, reject: {}}}`, rejectsNobody},
	"reject, rejoin":      {`spec: {join: {reject: {}}, whenFull: {prune: {mode: Preview, inactiveFor: 30d, rejoinAfter: 0d10h}}}`, ``},
	"reject, allow":       {`spec: {join: {allow: {}, reject: {}}}`, ``},
	"empty reject":        {`spec: {join: {deny: {}, reject: {}}}`, ``},
	"code 10100":          {`spec: {join: {deny: {}, reject: {code: 10100}}}`, ``},
	"code 10200":          {`spec: {join: {deny: {}, reject: {code: 10200, message: Members only}}}`, ``},
	"code 10099":          {`spec: {join: {deny: {}, reject: {code: 10099}}}`, `spec.join.reject.code: Invalid value: 10099: spec.join.reject.code in body should be greater than or equal to 10100`},
	"code 10201":          {`spec: {join: {deny: {}, reject: {code: 10201}}}`, `spec.join.reject.code: Invalid value: 10201: spec.join.reject.code in body should be less than or equal to 10200`},
	"code 1":              {`spec: {join: {deny: {}, reject: {code: 1}}}`, `spec.join.reject.code: Invalid value: 1: spec.join.reject.code in body should be greater than or equal to 10100`},
	"message, no code":    {`spec: {join: {deny: {}, reject: {message: Members only}}}`, `spec.join.reject.message: Invalid value: message needs a code: without one the client never sees the message; set code to a number from 10100 to 10200`},
	"empty message":       {`spec: {join: {deny: {}, reject: {code: 10110, message: ""}}}`, `spec.join.reject.message: Invalid value: "": spec.join.reject.message in body should be at least 1 chars long`},
	"message 256":         {`spec: {join: {deny: {}, reject: {code: 10110, message: ` + strings.Repeat("员", 256) + `}}}`, ``},
	"message 257":         {`spec: {join: {deny: {}, reject: {code: 10110, message: ` + strings.Repeat("a", 257) + `}}}`, `spec.join.reject.message: Too long: may not be more than 256 bytes`},
	"unknown field":       {`spec: {join: {alow: {}}}`, `GroupPolicy in version "v1alpha1" cannot be handled as a GroupPolicy: strict decoding error: unknown field "spec.join.alow"`},
}

// selectorMutations test an AccountSelector, in whichever field it is.
func selectorMutations(field string) map[string]mutation {
	at := func(selector string) string { return fmt.Sprintf(`spec: {join: {%s: %s}}`, field, selector) }
	path := "spec.join." + field
	return map[string]mutation{
		"empty":             {at(`{}`), ``},
		"1000 accounts":     {at(`{accounts: [` + accounts(1000) + `]}`), ``},
		"1001 accounts":     {at(`{accounts: [` + accounts(1001) + `]}`), path + `.accounts: Too many: 1001: must have at most 1000 items`},
		"empty account":     {at(`{accounts: [""]}`), path + `.accounts[0]: Invalid value: "": ` + path + `.accounts[0] in body should be at least 1 chars long`},
		"account 33":        {at(`{accounts: [` + strings.Repeat("a", 33) + `]}`), path + `.accounts[0]: Too long: may not be more than 32 bytes`},
		"64 prefixes":       {at(`{accountPrefixes: [` + accounts(64) + `]}`), ``},
		"65 prefixes":       {at(`{accountPrefixes: [` + accounts(65) + `]}`), path + `.accountPrefixes: Too many: 65: must have at most 64 items`},
		"empty prefix":      {at(`{accountPrefixes: [""]}`), path + `.accountPrefixes[0]: Invalid value: "": ` + path + `.accountPrefixes[0] in body should be at least 1 chars long`},
		"prefix 33":         {at(`{accountPrefixes: [` + strings.Repeat("a", 33) + `]}`), path + `.accountPrefixes[0]: Too long: may not be more than 32 bytes`},
		"64 lists":          {at(`{lists: [` + repeat(64, `{name: l%d}`) + `]}`), ``},
		"65 lists":          {at(`{lists: [` + repeat(65, `{name: l%d}`) + `]}`), path + `.lists: Too many: 65: must have at most 64 items`},
		"selector":          {at(`{lists: [{selector: {matchLabels: {list: vip}}}]}`), ``},
		"every list":        {at(`{lists: [{selector: {}}]}`), ``},
		"neither":           {at(`{lists: [{}]}`), path + `.lists[0]: Invalid value: set exactly one of name and selector`},
		"both":              {at(`{lists: [{name: vip-0, selector: {matchLabels: {list: vip}}}]}`), path + `.lists[0]: Invalid value: set exactly one of name and selector`},
		"empty list name":   {at(`{lists: [{name: ""}]}`), path + `.lists[0].name: Invalid value: "": ` + path + `.lists[0].name in body should be at least 1 chars long`},
		"list name 254":     {at(`{lists: [{name: ` + strings.Repeat("a", 254) + `}]}`), path + `.lists[0].name: Too long: may not be more than 253 bytes`},
		"16 labels":         {at(`{lists: [{selector: {matchLabels: {` + repeat(16, `l%d: x`) + `}}}]}`), ``},
		"17 labels":         {at(`{lists: [{selector: {matchLabels: {` + repeat(17, `l%d: x`) + `}}}]}`), path + `.lists[0].selector.matchLabels: Invalid value: matchLabels must have at most 16 labels`},
		"16 expressions":    {at(`{lists: [{selector: {matchExpressions: [` + repeat(16, `{key: l%d, operator: Exists}`) + `]}}]}`), ``},
		"17 expressions":    {at(`{lists: [{selector: {matchExpressions: [` + repeat(17, `{key: l%d, operator: Exists}`) + `]}}]}`), path + `.lists[0].selector.matchExpressions: Invalid value: matchExpressions must have at most 16 expressions`},
		"expression no key": {at(`{lists: [{selector: {matchExpressions: [{operator: Exists}]}}]}`), path + `.lists[0].selector.matchExpressions[0].key: Required value`},
	}
}

var prunePolicyMutations = func() map[string]mutation {
	at := func(rule string) string { return fmt.Sprintf(`spec: {whenFull: {prune: %s}}`, rule) }
	mutations := map[string]mutation{
		"as it is":          {`{}`, ``},
		"no rule":           {at(`null`), `spec.whenFull.prune: Required value`},
		"Enforce":           {at(`{mode: Enforce}`), ``},
		"Approve":           {at(`{mode: Approve}`), ``},
		"no mode":           {at(`{mode: null}`), `spec.whenFull.prune.mode: Required value`},
		"other mode":        {at(`{mode: Audit}`), `spec.whenFull.prune.mode: Unsupported value: "Audit": supported values: "Preview", "Approve", "Enforce"`},
		"no inactiveFor":    {at(`{inactiveFor: null}`), `spec.whenFull.prune.inactiveFor: Required value`},
		"inactiveFor 1d":    {at(`{inactiveFor: 1d}`), ``},
		"inactiveFor 24h":   {at(`{inactiveFor: 24h}`), ``},
		"inactiveFor 100h":  {at(`{inactiveFor: 100h}`), ``},
		"inactiveFor 0d24h": {at(`{inactiveFor: 0d24h}`), ``},
		"inactiveFor 1d12h": {at(`{inactiveFor: 1d12h}`), ``},
		"inactiveFor 9999d": {at(`{inactiveFor: 9999d99999h}`), ``},
		"inactiveFor 010d":  {at(`{inactiveFor: 010d}`), ``},
		"inactiveFor long":  {at(`{inactiveFor: 00000000000000030d}`), `spec.whenFull.prune.inactiveFor: Too long: may not be more than 16 bytes`},
		"freeSeats 1":       {at(`{freeSeats: 1}`), ``},
		"freeSeats 1000000": {at(`{freeSeats: 1000000}`), ``},
		"freeSeats 1%":      {at(`{freeSeats: "1%"}`), ``},
		"freeSeats 99%":     {at(`{freeSeats: "99%"}`), ``},
		"freeSeats 100%":    {at(`{freeSeats: "100%"}`), ``},
		"maxRemovals 1":     {at(`{maxRemovals: 1}`), ``},
		"maxRemovals 1000":  {at(`{maxRemovals: 1000}`), ``},
		"maxRemovals 0":     {at(`{maxRemovals: 0}`), `spec.whenFull.prune.maxRemovals: Invalid value: 0: spec.whenFull.prune.maxRemovals in body should be greater than or equal to 1`},
		"maxRemovals 1001":  {at(`{maxRemovals: 1001}`), `spec.whenFull.prune.maxRemovals: Invalid value: 1001: spec.whenFull.prune.maxRemovals in body should be less than or equal to 1000`},
		"a day's 1":         {at(`{maxRemovalsPerDay: 1}`), ``},
		"a day's 1000000":   {at(`{maxRemovalsPerDay: 1000000}`), ``},
		"a day's 0":         {at(`{maxRemovalsPerDay: 0}`), `spec.whenFull.prune.maxRemovalsPerDay: Invalid value: 0: spec.whenFull.prune.maxRemovalsPerDay in body should be greater than or equal to 1`},
		"a day's 1000001":   {at(`{maxRemovalsPerDay: 1000001}`), `spec.whenFull.prune.maxRemovalsPerDay: Invalid value: 1000001: spec.whenFull.prune.maxRemovalsPerDay in body should be less than or equal to 1000000`},
		// maxRemovals may equal maxRemovalsPerDay.
		"less than a run's": {at(`{maxRemovals: 1000, maxRemovalsPerDay: 1}`), ``},
		"protect":           {at(`{protect: {accounts: [jared], lists: [{name: vip-0}]}}`), ``},
		"protect two ways":  {at(`{protect: {lists: [{name: vip-0, selector: {}}]}}`), `spec.whenFull.prune.protect.lists[0]: Invalid value: set exactly one of name and selector`},
		"cooldown 10m":      {at(`{cooldown: 10m}`), ``},
		"cooldown 0m":       {at(`{cooldown: 0m}`), ``},
		"cooldown 1d2h3m":   {at(`{cooldown: 1d2h3m}`), ``},
		"cooldown long":     {at(`{cooldown: 000000000000000000010m}`), `spec.whenFull.prune.cooldown: Too long: may not be more than 20 bytes`},
		"rejoinAfter long":  {at(`{rejoinAfter: 0000000000000000000000007d}`), `spec.whenFull.prune.rejoinAfter: Too long: may not be more than 24 bytes`},
		"Silent":            {at(`{notification: Silent}`), ``},
		"notification":      {at(`{notification: Everybody}`), `spec.whenFull.prune.notification: Unsupported value: "Everybody": supported values: "Group", "Silent"`},
		"reason 256":        {at(`{reason: ` + strings.Repeat("久", 256) + `}`), ``},
		"reason 257":        {at(`{reason: ` + strings.Repeat("a", 257) + `}`), `spec.whenFull.prune.reason: Too long: may not be more than 256 bytes`},
		"reason empty":      {at(`{reason: ""}`), `spec.whenFull.prune.reason: Invalid value: "": spec.whenFull.prune.reason in body should be at least 1 chars long`},
	}
	refuse := func(field, message string, values ...any) {
		for _, value := range values {
			text, _ := json.Marshal(value)
			mutations[fmt.Sprintf("%s %s", field, text)] = mutation{
				patch: at(fmt.Sprintf(`{%s: %s}`, field, text)),
				want:  fmt.Sprintf(`spec.whenFull.prune.%s: Invalid value: %s: %s`, field, text, message),
			}
		}
	}
	take := func(field string, values ...string) {
		for _, value := range values {
			mutations[field+" "+value] = mutation{patch: at(fmt.Sprintf(`{%s: %q}`, field, value))}
		}
	}
	take("rejoinAfter", "0s", "0d", "1s", "30d", "720h", "43200m", "2592000s", "1h30m", "29d23h59m60s", "0d0h0m0s",
		"007d", "0030d", "00720h")
	refuse("rejoinAfter", `rejoinAfter must be days, hours, minutes and seconds of at most 30d in all, such as 7d, 12h or 1h30m`,
		"", "0", "7", "7w", "30d1s", "30d1m", "31d", "0031d", "721h", "43201m", "2592001s", "29d24h1s",
		"1m1h", "1h1h", "-1h", "+1h", "1.5h", "1 h", "1H", "d", "30d\n", "10000d", "99999999s")
	refuse("inactiveFor", `inactiveFor must be days and hours of at least 24h in all, such as 30d, 36h or 1d12h`,
		"", "23h", "0d", "0d23h", "0012h", "12h1d", "1440m", "30", "-30d", "1.5d", "30 d", "30D", "30d\n",
		"10000d", "d")
	refuse("cooldown", `cooldown must be days, hours and minutes, such as 10m, 6h or 1d12h`,
		"", "10s", "10", "3m1d", "-10m", "m", "99999999m")
	refuse("freeSeats", `freeSeats must be a number of seats from 1 to 1000000, or a percentage from 1% to 100% in quotes, such as 50 or "5%"`,
		0, -1, 1000001, 3000000000, "0%", "05%", "101%", "1000%", "5", "", "2.5%", "-5%")
	return mutations
}()

var evictPolicyMutations = func() map[string]mutation {
	const (
		refusesNobody = `spec.join.evict: Invalid value: evict needs allow or deny: without one this policy refuses nobody; an allow with nothing after it counts as absent`
		inAudit       = `spec.join.evict: Invalid value: evict needs mode Enforce: a gate in mode Audit refuses nobody`
		fewerTriggers = `spec.join.evict: Invalid value: evict needs all of the triggers Apply, Invite and RESTAPI: a member may have come in by any of them`
		admitsNobody  = `spec.join.evict: Invalid value: evict cannot be combined with an empty allow: it admits nobody, so that every ordinary member would be evicted`
		grace         = `grace must be days, hours and minutes of at most 30d in all, such as 10m, 6h or 1d12h`
		interval      = `interval must be days, hours and minutes of at least 1h in all, such as 24h, 12h or 7d`
	)
	at := func(rule string) string { return fmt.Sprintf(`spec: {join: {evict: %s}}`, rule) }
	mutations := map[string]mutation{
		"as it is":         {`{}`, ``},
		"Approve":          {at(`{mode: Approve}`), ``},
		"Enforce":          {at(`{mode: Enforce}`), ``},
		"no mode":          {at(`{mode: null}`), `spec.join.evict.mode: Required value`},
		"other mode":       {at(`{mode: Audit}`), `spec.join.evict.mode: Unsupported value: "Audit": supported values: "Preview", "Approve", "Enforce"`},
		"deny":             {`spec: {join: {allow: null, deny: {accounts: [eve]}}}`, ``},
		"allow and deny":   {`spec: {join: {deny: {accounts: [eve]}}}`, ``},
		"allow, prefixes":  {`spec: {join: {allow: {accounts: null, accountPrefixes: [a]}}}`, ``},
		"allow, lists":     {`spec: {join: {allow: {accounts: null, lists: [{name: vip-0}]}}}`, ``},
		"neither":          {`spec: {join: {allow: null}}`, refusesNobody},
		"empty allow":      {`spec: {join: {allow: {accounts: null}}}`, admitsNobody},
		"allow of nobody":  {`spec: {join: {allow: {accounts: [], accountPrefixes: [], lists: []}}}`, admitsNobody},
		"empty, with deny": {`spec: {join: {allow: {accounts: null}, deny: {accounts: [eve]}}}`, admitsNobody},
		"Audit":            {`spec: {join: {mode: Audit}}`, inAudit},
		"two triggers":     {`spec: {join: {triggers: [Apply, Invite]}}`, fewerTriggers},
		"one, three times": {`spec: {join: {triggers: [Apply, Apply, Apply]}}`, fewerTriggers},
		"in another order": {`spec: {join: {triggers: [RESTAPI, Invite, Apply]}}`, ``},
		"maxRemovals 1000": {at(`{maxRemovals: 1000}`), ``},
		"maxRemovals 0":    {at(`{maxRemovals: 0}`), `spec.join.evict.maxRemovals: Invalid value: 0: spec.join.evict.maxRemovals in body should be greater than or equal to 1`},
		"maxRemovals 1001": {at(`{maxRemovals: 1001}`), `spec.join.evict.maxRemovals: Invalid value: 1001: spec.join.evict.maxRemovals in body should be less than or equal to 1000`},
		"a day's 0":        {at(`{maxRemovalsPerDay: 0}`), `spec.join.evict.maxRemovalsPerDay: Invalid value: 0: spec.join.evict.maxRemovalsPerDay in body should be greater than or equal to 1`},
		"a day's 1000001":  {at(`{maxRemovalsPerDay: 1000001}`), `spec.join.evict.maxRemovalsPerDay: Invalid value: 1000001: spec.join.evict.maxRemovalsPerDay in body should be less than or equal to 1000000`},
		"Silent":           {at(`{notification: Silent}`), ``},
		"notification":     {at(`{notification: Everybody}`), `spec.join.evict.notification: Unsupported value: "Everybody": supported values: "Group", "Silent"`},
		"reason 256":       {at(`{reason: ` + strings.Repeat("久", 256) + `}`), ``},
		"reason empty":     {at(`{reason: ""}`), `spec.join.evict.reason: Invalid value: "": spec.join.evict.reason in body should be at least 1 chars long`},
	}
	take := func(field string, values ...string) {
		for _, value := range values {
			mutations[field+" "+value] = mutation{patch: at(fmt.Sprintf(`{%s: %q}`, field, value))}
		}
	}
	refuse := func(field, message string, values ...string) {
		for _, value := range values {
			mutations[fmt.Sprintf("%s %q", field, value)] = mutation{
				patch: at(fmt.Sprintf(`{%s: %q}`, field, value)),
				want:  fmt.Sprintf(`spec.join.evict.%s: Invalid value: %q: %s`, field, value, message),
			}
		}
	}
	take("grace", "0m", "0d", "10m", "6h", "1d12h", "30d", "43200m", "29d23h60m")
	refuse("grace", grace, "", "10", "10s", "30d1m", "31d", "721h", "1m1h", "-1m", "1.5h", "m", "10m\n")
	take("interval", "1h", "60m", "24h", "7d", "0d1h", "0h60m", "1d12h30m")
	refuse("interval", interval, "", "0h", "59m", "3600s", "1", "-1h", "h", "1m1h")
	return mutations
}()

var pruneRunMutations = map[string]mutation{
	"as it is":       {`{}`, ``},
	"any name":       {`metadata: {name: by-hand.of.alice-` + strings.Repeat("a", 200) + `}`, ``},
	"no spec":        {`spec: null`, `spec: Required value`},
	"no appRef":      {`spec: {appRef: null}`, `spec.appRef: Required value`},
	"app 64":         {`spec: {appRef: {name: ` + strings.Repeat("a", 64) + `}}`, `spec.appRef.name: Too long: may not be more than 63 bytes`},
	"no group":       {`spec: {groupID: null}`, `spec.groupID: Required value`},
	"empty group":    {`spec: {groupID: ""}`, `spec.groupID: Invalid value: "": spec.groupID in body should be at least 1 chars long`},
	"group 255":      {`spec: {groupID: ` + strings.Repeat("a", 255) + `}`, ``},
	"group 256":      {`spec: {groupID: ` + strings.Repeat("a", 256) + `}`, `spec.groupID: Too long: may not be more than 255 bytes`},
	"GroupFull":      {`spec: {trigger: GroupFull}`, ``},
	"Sweep":          {`spec: {trigger: Sweep}`, ``},
	"FreeSeats":      {`spec: {purpose: FreeSeats}`, ``},
	"Evict":          {`spec: {purpose: Evict}`, ``},
	"other purpose":  {`spec: {purpose: Evictions}`, `spec.purpose: Unsupported value: "Evictions": supported values: "FreeSeats", "Evict"`},
	"1000 accounts":  {`spec: {purpose: Evict, accounts: [` + repeat(1000, `u%d`) + `]}`, ``},
	"1001 accounts":  {`spec: {purpose: Evict, accounts: [` + repeat(1001, `u%d`) + `]}`, `spec.accounts: Too many: 1001: must have at most 1000 items`},
	"0 accounts":     {`spec: {purpose: Evict, accounts: []}`, `spec.accounts: Invalid value: 0: spec.accounts in body should have at least 1 items`},
	"empty account":  {`spec: {purpose: Evict, accounts: [""]}`, `spec.accounts[0]: Invalid value: "": spec.accounts[0] in body should be at least 1 chars long`},
	"accounts alone": {`spec: {accounts: [eve]}`, `spec.accounts: Invalid value: accounts needs purpose Evict: who leaves a full group is decided among all its members`},
	"Pending":        {`spec: {approval: Pending}`, ``},
	"Approved":       {`spec: {approval: Approved}`, `spec.approval: Invalid value: "Approved": ` + beginsPending},
	"Denied":         {`spec: {approval: Denied}`, `spec.approval: Invalid value: "Denied": ` + beginsPending},
	"other approval": {`spec: {approval: Maybe}`, `spec.approval: Unsupported value: "Maybe": supported values: "Pending", "Approved", "Denied"`},
	"empty approval": {`spec: {approval: ""}`, `spec.approval: Unsupported value: "": supported values: "Pending", "Approved", "Denied"`},
	"undo":           {`spec: {undo: Requested}`, `spec.undo: Invalid value: ` + undoOnceEnded},
	"other undo":     {`spec: {undo: Done}`, `spec.undo: Unsupported value: "Done": supported values: "Requested"`},
	"own plan":       {`{spec: {approval: Approved}, ` + aPlan + `}`, `spec.approval: Invalid value: "Approved": ` + beginsPending},
	"own end":        {`{spec: {undo: Requested}, status: {conditions: [` + condition("Complete", "True", "Removed") + `]}}`, `spec.undo: Invalid value: ` + undoOnceEnded},
	"other trigger":  {`spec: {trigger: Cron}`, `spec.trigger: Unsupported value: "Cron": supported values: "GroupFull", "Sweep", "Manual", "Leak", "VerdictChange", "Round"`},
	"names a policy": {`spec: {policy: vip-lounge}`, `PruneRun in version "v1alpha1" cannot be handled as a PruneRun: strict decoding error: unknown field "spec.policy"`},
}

func TestImmutable(t *testing.T) {
	tests := map[string]struct {
		base string
		mutation
	}{
		"sdkAppID":               {baseIMApp, mutation{`spec: {sdkAppID: 1400000001}`, `spec.sdkAppID: Invalid value: 1400000001: sdkAppID cannot be changed: create another IMApp for another app`}},
		"IMApp, the rest":        {baseIMApp, mutation{`spec: {region: China, adminAccount: root, credentialsSecretRef: {name: other}, pruning: Suspended}`, ``}},
		"appRef":                 {baseGroupPolicy, mutation{`spec: {appRef: {name: test}}`, `spec.appRef: Invalid value: appRef cannot be changed: create another GroupPolicy for another app`}},
		"GroupPolicy, the rest":  {baseGroupPolicy, mutation{`spec: {groups: [{type: All}], groupTypes: [Work], join: {allow: {}}}`, ``}},
		"AccountList":            {baseAccountList, mutation{`spec: {accounts: [jared]}`, ``}},
		"PruneRun, appRef":       {basePruneRun, mutation{`spec: {appRef: {name: test}}`, `spec: Invalid value: ` + restImmutable}},
		"PruneRun, groupID":      {basePruneRun, mutation{`spec: {groupID: other}`, `spec: Invalid value: ` + restImmutable}},
		"PruneRun, trigger":      {basePruneRun, mutation{`spec: {trigger: GroupFull}`, `spec: Invalid value: ` + restImmutable}},
		"PruneRun, purpose":      {basePruneRun, mutation{`spec: {purpose: Evict}`, `spec: Invalid value: ` + restImmutable}},
		"PruneRun, its metadata": {basePruneRun, mutation{`metadata: {labels: {groupgate.io/app: prod}}`, ``}},
	}
	c := newClient(t)
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			object := mutate(t, tc.base, `{}`)
			object.SetNamespace(newNamespace(t, c))
			must(t, c.Create(t.Context(), object))

			patch, err := yaml.YAMLToJSON([]byte(tc.patch))
			must(t, err)
			err = c.Patch(t.Context(), object, client.RawPatch(types.MergePatchType, patch))
			if diff := cmp.Diff(tc.want, complaint(t, err)); diff != "" {
				t.Errorf("complaint (-want,+got):\n%s", diff)
			}
		})
	}
}

// pending is the Ready of an object that no operator has looked at, most often since its namespace is not watched.
const pending = `{type: Ready, status: Unknown, reason: Pending, lastTransitionTime: "1970-01-01T00:00:00Z",
  message: "Waiting for the operator: is this namespace among those it watches?"}`

func TestDefaults(t *testing.T) {
	tests := map[string]struct {
		base  string
		patch string
		want  string
	}{
		"IMApp": {
			base: baseIMApp,
			want: `
spec:
  sdkAppID: 1400000000
  region: Singapore
  adminAccount: administrator
  credentialsSecretRef: {name: prod-im}
  callbackAuthentication: Token
  unmatchedGroups: Allow
  rest: {requestsPerSecond: 20}
  pruning: Enabled
status: {observedGeneration: -1, conditions: [PENDING]}
`,
		},
		"IMApp, empty rest": {
			base:  baseIMApp,
			patch: `spec: {rest: {}, callbackAuthentication: None, unmatchedGroups: Reject, pruning: Suspended}`,
			want: `
spec:
  sdkAppID: 1400000000
  region: Singapore
  adminAccount: administrator
  credentialsSecretRef: {name: prod-im}
  callbackAuthentication: None
  unmatchedGroups: Reject
  rest: {requestsPerSecond: 20}
  pruning: Suspended
status: {observedGeneration: -1, conditions: [PENDING]}
`,
		},
		"AccountList": {
			base: baseAccountList,
			want: `
spec: {accounts: []}
status: {observedGeneration: -1, conditions: [PENDING], accounts: 0}
`,
		},
		"GroupPolicy": {
			base: baseGroupPolicy,
			want: `
spec:
  appRef: {name: prod}
  groups: [{type: Exact, value: "@TGS#2J4SZEAEL"}]
  join: {mode: Enforce, triggers: [Apply, Invite, RESTAPI]}
status: {observedGeneration: -1, conditions: [PENDING]}
`,
		},
		// An empty allow admits no account, an absent one all: defaulting must neither drop nor add it.
		"GroupPolicy, empty selectors": {
			base:  baseGroupPolicy,
			patch: `spec: {join: {allow: {}, deny: {}, reject: {}}}`,
			want: `
spec:
  appRef: {name: prod}
  groups: [{type: Exact, value: "@TGS#2J4SZEAEL"}]
  join: {mode: Enforce, triggers: [Apply, Invite, RESTAPI], allow: {}, deny: {}, reject: {}}
status: {observedGeneration: -1, conditions: [PENDING]}
`,
		},
		// Durations are stored as written: Argo CD compares them as text.
		"GroupPolicy, whenFull": {
			base:  basePrunePolicy,
			patch: `spec: {whenFull: {prune: {inactiveFor: 1d24h}}}`,
			want: `
spec:
  appRef: {name: prod}
  groups: [{type: All}]
  whenFull: {prune: {mode: Preview, inactiveFor: 1d24h, freeSeats: "5%", maxRemovals: 100,
    maxRemovalsPerDay: 1000, cooldown: 10m, rejoinAfter: 0s, notification: Group}}
status: {observedGeneration: -1, conditions: [PENDING]}
`,
		},
		"GroupPolicy, evict": {
			base:  baseEvictPolicy,
			patch: `spec: {join: {evict: {grace: 0h15m}}}`,
			want: `
spec:
  appRef: {name: prod}
  groups: [{type: All}]
  join: {mode: Enforce, triggers: [Apply, Invite, RESTAPI], allow: {accounts: [jared]},
    evict: {mode: Preview, grace: 0h15m, interval: 24h, maxRemovals: 100, maxRemovalsPerDay: 1000, notification: Group}}
status: {observedGeneration: -1, conditions: [PENDING]}
`,
		},
		"PruneRun": {
			base: basePruneRun,
			want: `
spec: {appRef: {name: prod}, groupID: "@TGS#2J4SZEAEL", purpose: FreeSeats, trigger: Manual, approval: Pending}
status:
  removed: 0
  conditions:
  - type: Planned
    status: Unknown
    reason: Pending
    message: Waiting for the operator
    lastTransitionTime: "1970-01-01T00:00:00Z"
`,
		},
		// Only a controller writes status: the status of a created object is dropped.
		"a status of one's own": {
			base:  baseAccountList,
			patch: `status: {observedGeneration: 7, accounts: 3}`,
			want: `
spec: {accounts: []}
status: {observedGeneration: -1, conditions: [PENDING], accounts: 0}
`,
		},
	}
	c := newClient(t)
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			object := mutate(t, tc.base, tc.patch)
			object.SetNamespace(newNamespace(t, c))
			must(t, c.Create(t.Context(), object))

			want := map[string]any{}
			must(t, yaml.Unmarshal([]byte(strings.ReplaceAll(tc.want, "PENDING", pending)), &want))
			got := throughJSON(t, map[string]any{"spec": object.Object["spec"], "status": object.Object["status"]})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("object (-want,+got):\n%s", diff)
			}
		})
	}
}

// If triggers were a set, applying one trigger would merge it with the three defaults.
func TestApplyNarrowsTriggers(t *testing.T) {
	c := newClient(t)
	namespace := newNamespace(t, c)
	var got []string
	for _, patch := range []string{`{}`, `spec: {join: {triggers: [Apply]}}`} {
		object := mutate(t, baseGroupPolicy, patch)
		object.SetNamespace(namespace)
		must(t, c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("test")))
		triggers, _, err := unstructured.NestedStringSlice(object.Object, "spec", "join", "triggers")
		must(t, err)
		got = append(got, strings.Join(triggers, " "))
	}
	if diff := cmp.Diff([]string{"Apply Invite RESTAPI", "Apply"}, got); diff != "" {
		t.Errorf("triggers after each apply (-want,+got):\n%s", diff)
	}
}

// If a selector were merged field by field, applying an empty one would leave null: rejected by the schema, or no gate
// at all.
func TestApplyEmptiesSelector(t *testing.T) {
	for name, tc := range map[string]struct{ full, empty, path string }{
		"allow":   {`spec: {join: {allow: {accounts: [jared]}}}`, `spec: {join: {allow: {}}}`, "spec.join.allow"},
		"deny":    {`spec: {join: {deny: {accounts: [jared]}}}`, `spec: {join: {deny: {}}}`, "spec.join.deny"},
		"protect": {`spec: {whenFull: {prune: {mode: Preview, inactiveFor: 30d, protect: {accounts: [jared]}}}}`, `spec: {whenFull: {prune: {mode: Preview, inactiveFor: 30d, protect: {}}}}`, "spec.whenFull.prune.protect"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t)
			namespace := newNamespace(t, c)
			var object *unstructured.Unstructured
			for _, patch := range []string{tc.full, tc.empty} {
				object = mutate(t, baseGroupPolicy, patch)
				_, replaced, _ := unstructured.NestedMap(object.Object, strings.Split(tc.path, ".")...)
				if patch == tc.empty && replaced {
					must(t, unstructured.SetNestedMap(object.Object, map[string]any{}, strings.Split(tc.path, ".")...))
				}
				object.SetNamespace(namespace)
				must(t, c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(object),
					client.FieldOwner("test")))
			}
			got, found, err := unstructured.NestedMap(object.Object, strings.Split(tc.path, ".")...)
			must(t, err)
			if !found || len(got) != 0 {
				t.Errorf("%s = %v (present: %v) after it was emptied, want {}", tc.path, got, found)
			}
		})
	}
}

// mutate applies a merge patch in YAML to an object in YAML.
func mutate(t *testing.T, base, patch string) *unstructured.Unstructured {
	t.Helper()
	original, err := yaml.YAMLToJSON([]byte(base))
	must(t, err)
	merge, err := yaml.YAMLToJSON([]byte(patch))
	must(t, err)
	if string(merge) == "null" {
		merge = []byte("{}")
	}
	mutated, err := jsonpatch.MergePatch(original, merge)
	must(t, err)
	object := &unstructured.Unstructured{}
	must(t, json.Unmarshal(mutated, object))
	return object
}

// refusal is the message of an API error without the object that is invalid; "" if there is none.
func refusal(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		t.Fatal(err)
	}
	message := status.Status().Message
	if _, after, found := strings.Cut(message, "is invalid: "); found {
		return after
	}
	return message
}

// complaint is the message of an API error without the name of the object.
func complaint(t *testing.T, err error) string {
	t.Helper()
	message := refusal(t, err)
	// If a value is out of bounds, the API server does not evaluate CEL rules, and appends a note.
	const note = ", <nil>: Invalid value: null: some validation rules were not checked"
	if before, _, found := strings.Cut(message, note); found {
		message = strings.TrimPrefix(before, "[")
	}
	return message
}

func throughJSON(t *testing.T, in map[string]any) map[string]any {
	t.Helper()
	data, err := json.Marshal(in)
	must(t, err)
	out := map[string]any{}
	must(t, json.Unmarshal(data, &out))
	return out
}

// repeat returns n items of a YAML list or map; %d in the format is the number of the item.
func repeat(n int, format string) string {
	items := make([]string, n)
	for i := range items {
		items[i] = fmt.Sprintf(format, i)
	}
	return strings.Join(items, ", ")
}

// accounts returns n accounts of the maximum length.
func accounts(n int) string { return repeat(n, "a%031d") }
