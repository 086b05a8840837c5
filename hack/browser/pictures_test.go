package browser

import (
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/groupgate/groupgate/api/v1alpha1"
	"github.com/groupgate/groupgate/internal/im/emulator"
	"github.com/groupgate/groupgate/internal/lab"
)

var update = flag.Bool("update", false, "draw the pictures of docs/images/page anew")

// pictures is the folder of those in the documentation, with the stamp of what they were drawn from.
var (
	pictures = filepath.Join(lab.Root(), "docs", "images", "page")
	stamp    = filepath.Join(pictures, "drawn-from")
)

// looks is a stamp of what decides how the page looks: its templates and its stylesheet.
func looks() (string, error) {
	dir := os.DirFS(filepath.Join(lab.Root(), "internal", "page"))
	names, err := fs.Glob(dir, "templates/*.html")
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	for _, name := range append(names, "style.css") {
		content, err := fs.ReadFile(dir, name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%s %d\n%s", name, len(content), content)
	}
	return hex.EncodeToString(sum.Sum(nil)) + "\n", nil
}

// Pictures in the documentation show the page as it looks now.
func TestPicturesAreUpToDate(t *testing.T) {
	if *update {
		t.Skip("they are being drawn")
	}
	want, err := looks()
	if err != nil {
		t.Fatal(err)
	}
	if drawn, err := os.ReadFile(stamp); err != nil || string(drawn) != want {
		t.Errorf("the pictures in docs/images/page are older than the templates or the stylesheet (%v): "+
			"run `make page-pictures`, look at them, and commit them", err)
	}
	total := int64(0)
	files, err := os.ReadDir(pictures)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		info, err := file.Info()
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if total > 1_000_000 {
		t.Errorf("the pictures have %d bytes together", total)
	}
}

// TestPictures draws every page in both languages, by day and by night, wide and narrow, into bin/browser/pictures, and
// those of the documentation into docs/images/page.
func TestPictures(t *testing.T) {
	if !*update {
		t.Skip("without -update no pictures are drawn")
	}
	w := newWorld(t)
	w.replicaURLs = []string{
		w.replicaOfADay(t, "groupgate-7d4f9-x2kqp", 1), w.replicaOfADay(t, "groupgate-7d4f9-zm8tw", 0.9),
	}
	shown := w.tellStory(t)
	for _, look := range looksOfPictures {
		x := w.open(t, maria, look.habits)
		for name, path := range shown {
			x.visit(path)
			picture, file := ask(x, chromedp.FullScreenshot(100)), name+look.suffix+".png"
			if err := write(filepath.Join(lab.Root(), "bin", "browser", "pictures", file), picture); err != nil {
				t.Fatal(err)
			}
			if documented[file] {
				if err := write(filepath.Join(pictures, file), picture); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := write(stamp, []byte(must(looks())(t))); err != nil {
		t.Fatal(err)
	}
}

// documented are the pictures in docs/page.md.
var documented = map[string]bool{
	"now.png": true, "waiting.png": true, "run.png": true, "removed.png": true, "ask.png": true, "refused.png": true,
	"now-narrow-dark.png": true,
}

// looksOfPictures are all of them, with what the names of their files end in.
var looksOfPictures = func() (all []struct {
	suffix string
	habits habits
}) {
	for _, language := range []string{"", "zh-CN"} {
		for _, width := range []int{0, narrow} {
			for _, dark := range []bool{false, true} {
				suffix := ""
				if language != "" {
					suffix += "-zh"
				}
				if width == narrow {
					suffix += "-narrow"
				}
				if dark {
					suffix += "-dark"
				}
				all = append(all, struct {
					suffix string
					habits habits
				}{suffix, habits{language: language, width: width, dark: dark}})
			}
		}
	}
	return all
}()

// tellStory brings about what the pictures show, and returns the pages to draw.
func (w *world) tellStory(t *testing.T) map[string]string {
	t.Helper()
	decide := func(group, result string, change func(*v1alpha1.PruneRun)) *v1alpha1.PruneRun {
		run := w.await(t, group, v1alpha1.ReasonAwaitingApproval)
		before := client.MergeFrom(run.DeepCopy())
		change(run)
		if err := w.client(t).Patch(t.Context(), run, before); err != nil {
			t.Fatal(err)
		}
		return w.await(t, group, result)
	}
	for _, group := range []string{"club-bern", "club-genf", "club-wien", "club-rome"} {
		w.plan(t, group)
	}
	waiting := w.plan(t, lab.ClubGroup)
	must(w.im.Speak(t.Context(), "club-genf", "boris"))(t)
	approve := func(run *v1alpha1.PruneRun) {
		run.Spec.Approval = v1alpha1.ApprovalApproved
		run.Spec.Decision = &v1alpha1.PruneDecision{Reason: "spring cleaning"}
	}
	removed := decide("club-genf", v1alpha1.ReasonRemoved, approve)
	undone := decide("club-bern", v1alpha1.ReasonRemoved, approve)
	decide("club-wien", v1alpha1.ReasonDenied, func(run *v1alpha1.PruneRun) {
		run.Spec.Approval = v1alpha1.ApprovalDenied
		run.Spec.Decision = &v1alpha1.PruneDecision{Reason: "not before Monday"}
	})
	before := client.MergeFrom(undone.DeepCopy())
	undone.Spec.Undo = v1alpha1.UndoRequested
	undone.Spec.Decision = &v1alpha1.PruneDecision{Reason: "they are missed"}
	if err := w.client(t).Patch(t.Context(), undone, before); err != nil {
		t.Fatal(err)
	}
	w.await(t, "club-bern", v1alpha1.ReasonUndone)
	must(w.im.CreateGroup(t.Context(), func() emulator.GroupSpec { vip, _ := lab.DemoGroups(); return vip }()))(t)
	must(w.im.Apply(t.Context(), lab.VIPGroup, "jared"))(t)
	must(w.Kubectl(t.Context(), "", "wait", "--for=condition=CallbacksVerified", "--timeout=90s", "imapp/prod"))(t)

	shown := w.shown(waiting)
	shown["ask"] = "/ask?app=" + app + "&group=" + lab.VIPGroup + "&account=mallory"
	shown["removed"], shown["undone"] = pathOf(removed), pathOf(undone)
	return shown
}
