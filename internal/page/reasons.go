package page

import (
	"html/template"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// resultWords are the states of runs in words: the reasons of their conditions, and what package runs puts before them.
var resultWords = map[string]string{
	v1alpha1.ReasonPending:              say("Not looked at yet"),
	v1alpha1.ReasonPlanned:              say("Planned"),
	v1alpha1.ReasonQueued:               say("Waits for its turn"),
	v1alpha1.ReasonAwaitingApproval:     say("Waits for a decision"),
	v1alpha1.ReasonInGrace:              say("Waits until the grace is over"),
	v1alpha1.ReasonListUnresolved:       say("Waits for a list that is missing, empty or invalid"),
	v1alpha1.ReasonProtectionUnresolved: say("Waits for a list of protected members that is missing"),
	v1alpha1.ReasonBudgetExhausted:      say("Waits until more may be removed on a day"),
	v1alpha1.ReasonPolicyInvalid:        say("Waits for the policy to be corrected"),
	v1alpha1.ReasonConflicted:           say("Waits, since two apps have the same SDKAppID"),
	v1alpha1.ReasonSecretNotFound:       say("Waits for the Secret of the app"),
	v1alpha1.ReasonKeyMissing:           say("Waits for a key in the Secret of the app"),
	v1alpha1.ReasonVendorUnavailable:    say("Waits for the chat service to answer"),
	v1alpha1.ReasonClockSkew:            say("Waits, since clocks differ"),
	v1alpha1.ReasonSnapshotBehind:       say("Waits for the leader to see the cluster as it is"),
	v1alpha1.ReasonAppNotFound:          say("The app does not exist"),
	v1alpha1.ReasonApproved:             say("Approved"),
	v1alpha1.ReasonRemoving:             say("Members are being removed"),
	v1alpha1.ReasonRemoved:              say("Members were removed"),
	v1alpha1.ReasonPreviewed:            say("A preview: nobody was removed"),
	v1alpha1.ReasonNothingToRemove:      say("There was nobody to remove"),
	v1alpha1.ReasonNotFull:              say("The group was not full"),
	v1alpha1.ReasonNotGoverned:          say("No rule governed the group"),
	v1alpha1.ReasonCoolingDown:          say("Too soon after the last run"),
	v1alpha1.ReasonSuperseded:           say("The rule or the group changed"),
	v1alpha1.ReasonSuspended:            say("Pruning of the app is suspended"),
	v1alpha1.ReasonDenied:               say("Denied"),
	v1alpha1.ReasonExpired:              say("The plan became void"),
	v1alpha1.ReasonGroupNotFound:        say("The group does not exist"),
	v1alpha1.ReasonUnsupportedGroupType: say("Nobody can be removed from a group of this type"),
	v1alpha1.ReasonVendorRefused:        say("The chat service refused"),
	v1alpha1.ReasonActivityUnknown:      say("It is not known who is active"),
	v1alpha1.ReasonUndoing:              say("Members are being added back"),
	v1alpha1.ReasonUndone:               say("Undone"),
	v1alpha1.ReasonNothingToUndo:        say("There was nothing to undo"),
	deleting:                            say("Being deleted"),
}

// deleting is what package runs says of a run that is being deleted.
const deleting = "Deleting"

// Result is the state of a run in words.
func (v *visit) Result(reason string) string { return v.word(resultWords, reason) }

// word is the text of an enum value. A value that this version does not know is shown as it is.
func (v *visit) word(words map[string]string, value string) string {
	if text, ok := words[value]; ok {
		return v.T(text)
	}
	return value
}

var purposeWords = map[string]string{
	string(v1alpha1.PrunePurposeFreeSeats): say("Free seats"),
	string(v1alpha1.PrunePurposeEvict):     say("Remove who may not join"),
}

// Purpose is what a run is for. A run that names no purpose frees seats.
func (v *visit) Purpose(purpose string) string {
	if purpose == "" {
		purpose = string(v1alpha1.PrunePurposeFreeSeats)
	}
	return v.word(purposeWords, purpose)
}

var triggerWords = map[string]string{
	string(v1alpha1.PruneTriggerGroupFull):     say("The chat service reported that the group is full"),
	string(v1alpha1.PruneTriggerSweep):         say("A look for full groups found it"),
	string(v1alpha1.PruneTriggerManual):        say("A person asked for it"),
	string(v1alpha1.PruneTriggerLeak):          say("A member came in whom the gate refuses"),
	string(v1alpha1.PruneTriggerVerdictChange): say("A list or a policy was edited"),
	string(v1alpha1.PruneTriggerRound):         say("A look at all members found one whom the gate refuses"),
}

// Trigger is who asked for a run.
func (v *visit) Trigger(trigger v1alpha1.PruneTrigger) string {
	return v.word(triggerWords, string(trigger))
}

var modeWords = map[string]string{
	string(v1alpha1.PruneModePreview): say("shows who would go, and removes nobody"),
	string(v1alpha1.PruneModeApprove): say("removes members once a person approves"),
	string(v1alpha1.PruneModeEnforce): say("removes members by itself"),
}

// Mode is what a policy does about the members of a plan.
func (v *visit) Mode(mode string) string { return v.word(modeWords, mode) }

// WhyPlanned is why a member is on a plan.
func (v *visit) WhyPlanned(m v1alpha1.PlannedRemoval) template.HTML {
	switch {
	case m.Reason == v1alpha1.RemovalReasonNeverSpoke:
		return v.HTML("joined then, and never wrote")
	case m.Reason == v1alpha1.RemovalReasonInactive:
		return v.HTML("has not written since")
	case m.Reason == v1alpha1.RemovalReasonDenied && m.List != "":
		return v.HTML("policy %s denies it, by the list %s", m.Policy, m.List)
	case m.Reason == v1alpha1.RemovalReasonDenied:
		return v.HTML("policy %s denies it", m.Policy)
	case m.Reason == v1alpha1.RemovalReasonNotListed:
		return v.HTML("policy %s does not list it", m.Policy)
	}
	return template.HTML(template.HTMLEscapeString(string(m.Reason))) //nolint:gosec // escaped
}

var keptWords = map[string]string{
	string(v1alpha1.KeptReasonLeft):            say("was no longer in the group"),
	string(v1alpha1.KeptReasonRoleChanged):     say("became owner or admin"),
	string(v1alpha1.KeptReasonActiveAgain):     say("was active again"),
	string(v1alpha1.KeptReasonProtected):       say("is protected by now"),
	string(v1alpha1.KeptReasonAdmitted):        say("is admitted by now"),
	string(v1alpha1.KeptReasonUnknown):         say("it was no longer known when it was active"),
	string(v1alpha1.KeptReasonBudgetExhausted): say("no more could be removed on that day"),
	string(v1alpha1.KeptReasonVendorRefused):   say("the chat service refused to remove it"),
	string(v1alpha1.KeptReasonRunEnded):        say("the run ended first"),
}

var restoredWords = map[string]string{
	string(v1alpha1.RestoreResultPending):              say("is still to come back"),
	string(v1alpha1.RestoreResultAdding):               say("is being added back"),
	string(v1alpha1.RestoreResultAdded):                say("is back"),
	string(v1alpha1.RestoreResultAlreadyMember):        say("had come back by itself"),
	string(v1alpha1.RestoreResultAwaitingConfirmation): say("was asked whether it wants to come back"),
	string(v1alpha1.RestoreResultRefused):              say("was refused"),
	string(v1alpha1.RestoreResultNotFound):             say("does not exist any more"),
	string(v1alpha1.RestoreResultGroupLimit):           say("is in too many groups"),
	string(v1alpha1.RestoreResultNoSeat):               say("no seat was free"),
	string(v1alpha1.RestoreResultRemovedAgain):         say("was removed again by a later run"),
	string(v1alpha1.RestoreResultStillRefused):         say("is still refused by the gate"),
	string(v1alpha1.RestoreResultFailed):               say("was not added, since the undo ended early"),
}
