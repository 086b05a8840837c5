// Package v1alpha1 holds the API of Groupgate, group groupgate.io.
//
// An [IMApp] is one Tencent Cloud Chat app and the credentials that speak for
// it. An [AccountList] is a list of accounts, or one shard of a long list. A
// [GroupPolicy] says who may join which groups of an app, and what happens
// when such a group is full. A [PruneRun] is one pass that removes inactive
// members from one full group: the request, the plan and the record of it.
//
// The package holds types, markers and documented names only. What the API
// server can rule out is ruled out by the schema that is generated from here;
// what it cannot is judged when a snapshot is compiled, and told in status.
//
// +kubebuilder:object:generate=true
// +groupName=groupgate.io
package v1alpha1
