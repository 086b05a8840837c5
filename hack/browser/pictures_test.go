package browser

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

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

// pictured returns PNG without loss, as small as the standard library makes it.
func pictured(picture []byte) ([]byte, error) {
	decoded, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(&out, decoded); err != nil {
		return nil, err
	}
	if out.Len() > len(picture) {
		return picture, nil
	}
	return out.Bytes(), nil
}

// picture draws the page that is shown, all of it.
func (x *tab) picture() []byte {
	x.t.Helper()
	return must(pictured(ask(x, chromedp.FullScreenshot(100))))(x.t)
}
