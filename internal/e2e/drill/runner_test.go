package drill

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab"
)

// runner runs the steps of one scenario. The emulator may refuse some: an account that has left cannot speak.
type runner struct {
	*world
	scenario
}

// prepare makes the groups, the list and the policy.
func (p runner) prepare() {
	for _, g := range p.Groups {
		if _, err := p.im(p.Rule.App).CreateGroup(p.ctx, g); err != nil {
			p.violation("%s: make group %q: %v", p.Name, g.ID, err)
		}
		p.silence(g.ID, time.Now(), g.MuteAllMember || g.SupportTopic)
	}
	if p.List != nil {
		p.putList(p.Name, p.List)
	}
	p.putPolicy(p.Name, p.Rule)
}

// run runs the steps, one after the other.
func (p runner) run(ctx context.Context) {
	for _, s := range p.Steps {
		pause(ctx, s.After)
		if ctx.Err() != nil {
			return
		}
		p.do(ctx, s)
	}
}

func (p runner) do(ctx context.Context, s step) {
	app, g := p.Rule.App, p.Groups[s.Group]
	im := p.im(app)
	switch s.Do {
	case doReport:
		p.report(ctx, app, g.ID, s.N)
	case doHold:
		d := newRNG(s.Pick, 1)
		fault := emulator.Fault{
			API: oneOf(d, "get_group_info", "get_specified_group_member_info", "get_specified_group_member_info",
				"delete_group_member"),
			Group: g.ID, Kind: emulator.FaultLatency, Latency: d.duration(200*time.Millisecond, 2*time.Second).String(),
			Skip: d.IntN(2), Count: s.N,
		}
		if _, err := im.AddFault(ctx, fault); err != nil {
			p.violation("%s: hold %q: %v", p.Name, g.ID, err)
		}
	case doAwaitLag:
		p.server.awaitLag(ctx)
	case doAwaitEnd:
		p.awaitEnd(ctx, app, g.ID)
	case doAwaitPlan:
		p.awaitPlan(ctx, app, g.ID)
	case doSpeak:
		for _, account := range p.pick(ctx, g.ID, s) {
			_, _ = im.Speak(ctx, g.ID, account)
		}
	case doQuit:
		for _, account := range p.pick(ctx, g.ID, s) {
			begin := time.Now()
			if o, err := im.Quit(ctx, g.ID, account); err == nil && o.Result == emulator.ResultLeft {
				p.departed(departure{app: app, group: g.ID, account: account, seats: 1, begin: begin})
			}
		}
	case doReturn:
		for _, account := range choose(s, p.gone(g.ID)) {
			_, _ = im.PutMembers(ctx, g.ID, emulator.MemberSpec{Accounts: []string{account}})
		}
	case doApply:
		for _, account := range append(choose(s, p.gone(g.ID)), fmt.Sprintf("new%d", s.Pick%1000)) {
			_, _ = im.Apply(ctx, g.ID, account)
		}
	case doPromote:
		for _, account := range p.pick(ctx, g.ID, s) {
			// Only members: PutMembers would add others.
			if members, err := im.Members(ctx, g.ID); err == nil &&
				slices.ContainsFunc(members, func(m emulator.Member) bool { return m.Account == account }) {
				_, _ = im.PutMembers(ctx, g.ID, emulator.MemberSpec{Accounts: []string{account}, Role: "Admin"})
			}
		}
	case doSilence:
		quirks := g.Quirks
		quirks.OmitLastSendMsgTime = true
		_, _ = im.ChangeGroup(ctx, g.ID, emulator.GroupChange{Quirks: &quirks})
	case doMute:
		for _, account := range p.pick(ctx, g.ID, s) {
			if members, err := im.Members(ctx, g.ID); err == nil &&
				slices.ContainsFunc(members, func(m emulator.Member) bool { return m.Account == account }) {
				_, _ = im.PutMembers(ctx, g.ID, emulator.MemberSpec{Accounts: []string{account}, MutedFor: "5h"})
			}
		}
	case doMuteAll, doUnmute:
		begin, on := time.Now(), s.Do == doMuteAll
		change := emulator.GroupChange{MuteAllMember: &on}
		if s.N == 1 || !on { // a group with topics is as silent
			change.SupportTopic = &on
		}
		if _, err := im.ChangeGroup(ctx, g.ID, change); err == nil {
			p.silence(g.ID, begin, on)
		}
	case doAge:
		for _, run := range p.unfinished(app) {
			if run.Status.Plan != nil {
				p.age(&run, time.Duration(s.N)*time.Second)
			}
		}
	case doRaise:
		if g.MaxMembers > 0 {
			begin, limit := time.Now(), g.MaxMembers+s.N
			if _, err := im.ChangeGroup(ctx, g.ID, emulator.GroupChange{MaxMembers: &limit}); err == nil {
				p.departed(departure{app: app, group: g.ID, seats: s.N, begin: begin})
			}
		}
	case doDisband:
		begin := time.Now()
		if im.DestroyGroup(ctx, g.ID) == nil {
			p.departed(departure{app: app, group: g.ID, begin: begin})
		}
	case doApprove:
		for _, run := range p.unfinished(app) {
			if run.Status.Plan != nil {
				p.setApproval(&run, v1alpha1.ApprovalApproved)
			}
		}
	case doDeny:
		for _, run := range p.unfinished(app) {
			p.setApproval(&run, v1alpha1.ApprovalDenied)
		}
	case doManual:
		p.createRun(fmt.Sprintf("%s-by-hand-%d", p.Name, s.Pick), app, g.ID)
	case doTighten:
		planned := p.pick(ctx, g.ID, s)
		p.edit(func(r *rule) { r.Accounts = append(slices.Clone(r.Accounts), planned...) })
	case doLoosen:
		p.edit(func(r *rule) { r.FreeSeats += s.N; r.FreeSeats = min(r.FreeSeats, 100) })
	case doRephrase:
		p.edit(func(r *rule) { r.Code, r.Message = 10100+s.N, "come back much later" })
	case doPreview:
		p.edit(func(r *rule) { r.Mode = "Preview" })
	case doInvalidate:
		p.edit(func(r *rule) { r.Invalid = true })
	case doRepair:
		p.edit(func(r *rule) { r.Invalid = false })
	case doDelete:
		p.dropPolicy(p.Name)
	case doRecreate:
		if p.policy(p.Name) == nil {
			p.putPolicy(p.Name, p.Rule)
		}
	case doListGrow:
		if list := p.list(p.Name); list != nil {
			p.putList(p.Name, append(slices.Clone(*list), p.pick(ctx, g.ID, s)...))
		}
	case doListDrop:
		p.dropList(p.Name)
	case doListBack:
		if p.list(p.Name) == nil {
			p.putList(p.Name, p.List)
		}
	case doImport:
		accounts := choose(s, p.removedBefore(g.ID))
		if len(accounts) > 0 {
			_, _ = im.PutMembers(ctx, g.ID, emulator.MemberSpec{Accounts: accounts, InactiveFor: "300d"})
		}
	case doUndoFirst:
		if runs := p.endedRuns(g.ID); len(runs) > 0 {
			p.requestUndo(&runs[0])
		}
	case doAnew:
		begin := time.Now()
		if im.DestroyGroup(ctx, g.ID) != nil {
			return
		}
		again := g
		again.CreatedAgo = "300d"
		if _, err := im.CreateGroup(ctx, again); err != nil {
			p.violation("%s: make group %q anew: %v", p.Name, g.ID, err)
		}
		p.silence(g.ID, begin, g.MuteAllMember || g.SupportTopic)
		p.departed(departure{app: app, group: g.ID, begin: begin, anew: true})
	default:
		if !p.doGate(ctx, s) {
			p.violation("%s: unknown step %q", p.Name, s.Do)
		}
	}
}

// silence records that members of a group may not speak, or may again.
func (p runner) silence(group string, begin time.Time, on bool) {
	p.ledger.note(func() { line(p.ledger.silent, p.Rule.App+"/"+group).set(begin, time.Now(), on) })
}

// spendYesterday makes the record of a removal that takes some of the budget until p.Free from now. It comes before the
// managers, which read the records of an app once in a term.
func (p runner) spendYesterday() {
	if p.Spent == 0 {
		return
	}
	name := p.Name + yesterday
	p.createRun(name, p.Rule.App, name)
	until := time.Now().Add(p.Free).Truncate(time.Second)
	at := metav1.NewTime(until.Add(-24 * time.Hour))
	var accounts []v1alpha1.PlannedRemoval
	for i := range p.Spent {
		accounts = append(accounts, v1alpha1.PlannedRemoval{
			Account: fmt.Sprintf("past%d", i), LastActiveAt: metav1.NewTime(at.AddDate(-1, 0, 0)),
			Reason: v1alpha1.RemovalReasonInactive,
		})
	}
	run := &v1alpha1.PruneRun{}
	if err := p.api.Get(p.ctx, client.ObjectKey{Namespace: p.Namespace, Name: name}, run); err != nil {
		p.violation("%s: read yesterday's record: %v", p.Name, err)
		return
	}
	run.Status = v1alpha1.PruneRunStatus{
		Policy: &v1alpha1.PrunePolicyRecord{Name: p.Name, UID: "yesterday", Mode: v1alpha1.PruneModeEnforce,
			RuleHash: strings.Repeat("0", 16)},
		Plan:     &v1alpha1.PrunePlan{CreatedAt: at, Candidates: int32(p.Spent), Removals: accounts},
		Progress: &v1alpha1.PruneProgress{Settled: int32(p.Spent), LastBatchAt: at},
		Removed:  int32(p.Spent),
		Conditions: []metav1.Condition{{
			Type: "Complete", Status: "True", Reason: "Removed", Message: "Removed yesterday.", LastTransitionTime: at,
		}},
	}
	if err := p.api.Status().Update(p.ctx, run); err != nil {
		p.violation("%s: write yesterday's record: %v", p.Name, err)
	}
	p.ledger.note(func() { p.ledger.spent[p.Rule.App+"/"+p.Name] = spending{p.Spent, until} })
}

// yesterday is how the names of records end that the drill has made.
const yesterday = "-yesterday"

// age makes a plan one that expires after that time.
func (w *world) age(run *v1alpha1.PruneRun, left time.Duration) {
	at := time.Now().Add(left).Truncate(time.Second)
	day, again := at.Add(-24*time.Hour).UTC().Format(time.RFC3339), ""
	if !run.Status.Plan.NotBefore.IsZero() { // then the plan expires a day after that
		again = fmt.Sprintf(`,"notBefore":%q`, day)
	}
	patch := client.RawPatch(types.MergePatchType,
		fmt.Appendf(nil, `{"status":{"plan":{"createdAt":%q%s}}}`, day, again))
	w.ledger.note(func() { w.ledger.expiries[run.UID] = expiry{time.Time{}, at} })
	object := &v1alpha1.PruneRun{ObjectMeta: metav1.ObjectMeta{Namespace: run.Namespace, Name: run.Name}}
	if err := w.api.Status().Patch(w.ctx, object, patch); err != nil {
		w.violation("age the plan of %s: %v", run.Name, err)
		return
	}
	w.ledger.note(func() { w.ledger.expiries[run.UID] = expiry{time.Now(), at} })
}

// endedRuns are the runs of a group that have ended and removed members, oldest first.
func (p runner) endedRuns(group string) (runs []v1alpha1.PruneRun) {
	for _, run := range p.ledger.runsOf(p.Rule.App, group) {
		if ended(&run) && run.Spec.Undo == "" && run.Status.Removed > 0 && len(inFlight(&run)) == 0 {
			runs = append(runs, run)
		}
	}
	return runs
}

// removedBefore are the accounts that were removed from a group of which no run is under way.
func (p runner) removedBefore(group string) (accounts []string) {
	for _, run := range p.ledger.runsOf(p.Rule.App, group) {
		if !ended(&run) || run.Spec.Undo != "" || len(inFlight(&run)) > 0 {
			return nil
		}
		accounts = append(accounts, slices.DeleteFunc(done(&run),
			func(account string) bool { return slices.Contains(keptBy(&run), account) })...)
	}
	slices.Sort(accounts)
	return slices.Compact(accounts)
}

// edit changes the policy, if there is one.
func (p runner) edit(change func(*rule)) {
	if v := p.policy(p.Name); v != nil {
		r := v.rule
		change(&r)
		p.putPolicy(p.Name, r)
	}
}

func (w *world) departed(d departure) {
	d.done = time.Now()
	w.ledger.note(func() { w.ledger.departures = append(w.ledger.departures, d) })
}

// report sends the group-full callback until a manager accepts it. If none does it is lost, as with the vendor.
func (w *world) report(ctx context.Context, app, group string, first int) {
	full, err := w.im(app).Group(ctx, group)
	if err != nil {
		return // the group was disbanded
	}
	for try := range 3 {
		a, err := w.replicas[(first+try)%2].callback(ctx, full.SDKAppID, lab.CommandGroupFull,
			map[string]any{"GroupId": group})
		if err != nil || a.Status != 200 || a.ErrorCode != 0 {
			continue
		}
		if full.Full {
			w.ledger.note(
				func() { w.ledger.reports = append(w.ledger.reports, report{app: app, group: group, at: time.Now()}) },
			)
		}
		return
	}
}

// awaitPlan waits some seconds for a plan of the group.
func (p runner) awaitPlan(ctx context.Context, app, group string) {
	ctx, cancel := context.WithTimeout(ctx, 6*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		if slices.ContainsFunc(
			p.ledger.runsOf(app, group),
			func(run v1alpha1.PruneRun) bool { return run.Status.Plan != nil },
		) {
			return
		}
		pause(ctx, 5*time.Millisecond)
	}
}

// awaitEnd waits some seconds for the end of all runs of the group.
func (p runner) awaitEnd(ctx context.Context, app, group string) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		runs := p.ledger.runsOf(app, group)
		if len(runs) > 0 && !slices.ContainsFunc(runs, func(run v1alpha1.PruneRun) bool { return !ended(&run) }) {
			return
		}
		pause(ctx, 20*time.Millisecond)
	}
}

// unfinished are the runs of the scenario's groups that have not ended.
func (p runner) unfinished(app string) (runs []v1alpha1.PruneRun) {
	for _, g := range p.Groups {
		for _, run := range p.ledger.runsOf(app, g.ID) {
			if !ended(&run) {
				runs = append(runs, run)
			}
		}
	}
	return runs
}

func (w *world) createRun(name, app, group string) {
	run := &v1alpha1.PruneRun{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name},
		Spec: v1alpha1.PruneRunSpec{
			AppRef:  v1alpha1.AppReference{Name: app},
			GroupID: group,
			Trigger: v1alpha1.PruneTriggerManual,
		},
	}
	if err := w.api.Create(w.ctx, run); err != nil {
		w.violation("create run %s: %v", name, err)
	}
}

// pick chooses among the accounts of the latest plan, or among ordinary members if there is none.
func (p runner) pick(ctx context.Context, group string, s step) []string {
	var accounts []string
	for _, run := range p.ledger.runsOf(p.Rule.App, group) {
		if run.Status.Plan == nil {
			continue
		}
		accounts = nil
		for _, removal := range run.Status.Plan.Removals {
			accounts = append(accounts, removal.Account)
		}
	}
	if len(accounts) == 0 {
		members, err := p.im(p.Rule.App).Members(ctx, group)
		if err != nil {
			return nil
		}
		for _, m := range members {
			if m.Role == "Member" {
				accounts = append(accounts, m.Account)
			}
		}
	}
	return choose(s, accounts)
}

// gone are the accounts that have left the group or were removed from it.
func (p runner) gone(group string) (accounts []string) {
	p.ledger.mu.Lock()
	defer p.ledger.mu.Unlock()
	for _, d := range p.ledger.departures {
		if d.app == p.Rule.App && d.group == group && d.account != "" {
			accounts = append(accounts, d.account)
		}
	}
	for _, d := range p.ledger.removals {
		if d.app == p.Rule.App && d.Group.ID == group {
			for _, m := range d.Found {
				accounts = append(accounts, m.Account)
			}
		}
	}
	slices.Sort(accounts)
	return slices.Compact(accounts)
}

// choose picks s.N accounts; which, depends on s.Pick alone.
func choose(s step, accounts []string) []string {
	accounts = slices.Clone(accounts)
	newRNG(s.Pick, 0).Shuffle(len(accounts), func(i, j int) { accounts[i], accounts[j] = accounts[j], accounts[i] })
	return accounts[:min(len(accounts), s.N)]
}

// injectAll injects each fault at its time, and returns when the last one is over.
func (w *world) injectAll(ctx context.Context, faults []fault) {
	var all sync.WaitGroup
	for _, f := range faults {
		all.Go(func() {
			pause(ctx, f.At)
			if ctx.Err() == nil {
				w.inject(ctx, f)
			}
		})
	}
	all.Wait()
}

// awaitNext waits some seconds for the next recheck or removal, so that a fault hits the middle of a batch.
func (w *world) awaitNext(ctx context.Context, what string) {
	count := func() (n int) {
		w.ledger.note(func() {
			switch what {
			case "recheck":
				n = len(w.ledger.rechecks)
			case "removal":
				n = len(w.ledger.removals)
			}
		})
		return n
	}
	if what == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, faultsFor/2)
	defer cancel()
	for before := count(); count() == before && ctx.Err() == nil; {
		pause(ctx, time.Millisecond)
	}
}

// leaderOr returns the replica that leads, and the one of that number if none does.
func (w *world) leaderOr(ctx context.Context, other int) *replica {
	leader := w.replicas[other]
	for _, r := range w.replicas {
		if r.leads(ctx) {
			leader = r
		}
	}
	return leader
}

func (w *world) inject(ctx context.Context, f fault) {
	switch f.Do {
	case faultVendor:
		if _, err := w.im(w.apps[0]).AddFault(ctx, *f.Vendor); err != nil {
			w.violation("add a fault: %v", err)
		}
	case faultKill:
		target := w.leaderOr(ctx, f.Target)
		// The target is known by now: a batch takes only milliseconds.
		w.awaitNext(ctx, f.When)
		w.ledger.recordFault()
		target.killAndRestart(ctx, f.For)
		w.ledger.recordFault()
	case faultDown:
		w.ledger.recordFault()
		var both sync.WaitGroup
		for _, r := range w.replicas {
			both.Go(func() { r.killAndRestart(ctx, f.For) })
		}
		both.Wait()
		w.ledger.recordFault()
	case faultOutage:
		w.awaitNext(ctx, f.When)
		w.during(ctx, f, func(cut bool) {
			w.ledger.note(func() { w.ledger.outages = append(w.ledger.outages, time.Now()) })
			for i, r := range w.replicas {
				switch {
				case f.Target != 2 && f.Target != i:
				case cut:
					r.wire.Cut()
				default:
					r.wire.Mend()
				}
			}
		})
	case faultClock:
		w.during(ctx, f, func(wrong bool) {
			change := emulator.ClockChange{Reset: true}
			if wrong {
				change = emulator.ClockChange{Forward: f.Move.String()}
			}
			if _, err := w.im(w.apps[0]).MoveClock(ctx, change); err != nil {
				w.violation("move the clock: %v", err)
			}
		})
	case faultStop:
		target := w.leaderOr(ctx, f.Target)
		w.awaitNext(ctx, f.When)
		w.ledger.recordFault()
		target.stopFor(ctx, f.For)
		w.ledger.recordFault()
	case faultLag:
		w.during(ctx, f, w.server.lag)
	case faultRotate:
		key := fmt.Sprintf("%x", sha256.Sum256([]byte(f.String())))
		w.during(ctx, f, func(waiting bool) { w.rotate(w.apps[f.Target], key, waiting) })
	case faultSuspend:
		w.during(ctx, f, func(off bool) { w.suspend(w.apps[f.Target], off) })
	}
}

// during calls set(true), and set(false) after the time of the fault.
func (w *world) during(ctx context.Context, f fault, set func(on bool)) {
	w.ledger.recordFault()
	set(true)
	pause(ctx, f.For)
	set(false)
	w.ledger.recordFault()
}

// recordVendorFaults records when faults of the vendor fired, until ctx ends.
func (w *world) recordVendorFaults(ctx context.Context) {
	fired := 0
	for ctx.Err() == nil {
		rules, err := w.im(w.apps[0]).Faults(ctx)
		now := 0
		for _, f := range rules {
			now += f.Fired
		}
		if err == nil && now != fired {
			fired = now
			w.ledger.recordFault()
		}
		pause(ctx, 500*time.Millisecond)
	}
}

// endFaults ends all faults.
func (w *world) endFaults(ctx context.Context) {
	if err := w.im(w.apps[0]).ClearFaults(ctx); err != nil {
		w.violation("end the faults: %v", err)
	}
	if _, err := w.im(w.apps[0]).MoveClock(ctx, emulator.ClockChange{Reset: true}); err != nil {
		w.violation("set the clock right: %v", err)
	}
	w.server.lag(false)
	for _, r := range w.replicas {
		r.wire.Mend()
		if !r.check() {
			continue
		}
		waiting, cancel := context.WithTimeout(ctx, patience)
		if err := r.current().AwaitReady(waiting); err != nil {
			w.violation("%v", err)
		}
		cancel()
	}
	w.ledger.recordFault()
}
