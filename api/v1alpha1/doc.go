// Package v1alpha1 is the API of Groupgate, group groupgate.io.
//
// An [IMApp] is one Tencent Cloud Chat app with its credentials. An [AccountList] is a list of accounts, or one shard
// of a long list. A [GroupPolicy] says who may join which groups of an app, and what happens when such a group is full.
// A [PruneRun] is one pass that removes inactive members from one full group: the request, the plan and the record of
// it.
//
// The package contains only types, markers and constants. The schema generated from it rejects what the API server can
// judge; the rest is validated when a snapshot is compiled, and reported in status.
//
// +kubebuilder:object:generate=true
// +groupName=groupgate.io
package v1alpha1
