package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// AccountListSpec holds the accounts.
type AccountListSpec struct {
	// accounts are the members of the list, at most 20,000, each 1 to 32
	// characters, compared byte for byte. A list that is longer than that is
	// several objects that share a label, which a policy selects together. Apply
	// long lists with kubectl apply --server-side.
	// No default; [] is an empty list. Example: [jared, tommy].
	//
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20000
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=32
	Accounts []string `json:"accounts"`
}

// AccountListStatus is what the controllers found out about an AccountList.
type AccountListStatus struct {
	// observedGeneration is the metadata.generation that the conditions speak
	// about; -1 until a controller has looked.
	// Default: -1. Example: 3.
	//
	// +optional
	// +kubebuilder:validation:Minimum=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// accounts is the number of different accounts in the list, 0 to 20,000; 0
	// until a controller has looked.
	// Default: 0. Example: 1200.
	//
	// +optional
	// +kubebuilder:default=0
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=20000
	Accounts int32 `json:"accounts"`

	// conditions are Accepted, Ready and, where some accounts look mistyped,
	// Warning. Ready means that the leader has published this generation; other
	// replicas follow within a second.
	// Default: Ready=Unknown with reason Pending. Example: Ready=True with reason
	// Ready.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:default={{type: "Ready", status: "Unknown", reason: "Pending", message: "Waiting for the operator: is this namespace among those it watches?", lastTransitionTime: "1970-01-01T00:00:00Z"}}
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// AccountList is a list of accounts, or one shard of a long list, that policies refer to by name or by label.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:metadata:annotations="argocd.argoproj.io/sync-options=ServerSideApply=true"
// +kubebuilder:resource:path=accountlists,singular=accountlist,categories=groupgate
// +kubebuilder:printcolumn:name="Accounts",type=integer,JSONPath=`.status.accounts`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type AccountList struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object metadata; policies select lists by their
	// labels. Example: {name: vip-0, labels: {list: vip}}.
	//
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec holds the accounts.
	// No default. Example: {accounts: [jared, tommy]}.
	//
	// +required
	Spec AccountListSpec `json:"spec"`

	// status is what the controllers found out.
	// Default: Ready=Unknown with reason Pending. Example: see the fields.
	//
	// +optional
	// +kubebuilder:default:={"observedGeneration":-1}
	Status AccountListStatus `json:"status,omitzero"`
}

// AccountListList is a list of AccountLists.
//
// +kubebuilder:object:root=true
type AccountListList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []AccountList `json:"items"`
}
