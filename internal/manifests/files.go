package manifests

import (
	"bufio"
	"bytes"
	"cmp"
	encodingjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/json"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/groupgate/groupgate/api/v1alpha1"
)

// Stdin is the path that stands for the standard input.
const Stdin = "-"

// Document is one YAML or JSON document, and where it stands.
type Document struct {
	Text []byte
	// File is the path of its file, or the folder of the kustomization that it was built from; then Line is 0.
	File string
	// Line is the first line of the document in the file, counted from 1.
	Line int

	where string
}

// Read reads the objects of files and folders; [Stdin] is in. A folder with a kustomization is built, of any other one
// every .yaml, .yml and .json in it is read, at any depth. A list, such as kubectl prints, stands for the objects in
// it. Objects of other groups are passed over. Objects without a namespace are in that one. An unknown field is an
// error, and so is an object that comes twice.
func Read(paths []string, namespace string, in io.Reader) (*Objects, error) {
	documents, err := Documents(paths, in)
	if err != nil {
		return nil, err
	}
	decoded := make([]metav1.Object, len(documents))
	var decoding errgroup.Group
	decoding.SetLimit(runtime.GOMAXPROCS(0))
	for i, d := range documents {
		decoding.Go(func() (err error) {
			if decoded[i], err = d.decode(); err != nil {
				return fmt.Errorf("%s: %w", d.where, err)
			}
			return nil
		})
	}
	if err := decoding.Wait(); err != nil {
		return nil, err
	}
	o := &Objects{FromFiles: true}
	seen := map[string]string{}
	for i, object := range decoded {
		if object == nil {
			continue
		}
		object.SetNamespace(cmp.Or(object.GetNamespace(), namespace))
		key := o.Add(object)
		if first, twice := seen[key]; twice {
			return nil, fmt.Errorf("%s: %s is in %s as well", documents[i].where, key, first)
		}
		seen[key] = documents[i].where
	}
	return o, nil
}

// Documents returns the documents of files and folders, as Read reads them, those of other groups included.
func Documents(paths []string, in io.Reader) ([]Document, error) {
	var documents []Document
	for _, path := range paths {
		read, err := documentsOf(path, in)
		if err != nil {
			return nil, err
		}
		documents = append(documents, read...)
	}
	return documents, nil
}

// Add adds an object of one of the four kinds, and returns its kind, namespace and name, as "GroupPolicy chat/vip". An
// object without a UID, as in a file, gets one of its own.
func (o *Objects) Add(object metav1.Object) string {
	key := reflect.TypeOf(object).Elem().Name() + " " + object.GetNamespace() + "/" + object.GetName()
	object.SetUID(cmp.Or(object.GetUID(), types.UID(key)))
	switch object := object.(type) {
	case *v1alpha1.IMApp:
		o.Apps = append(o.Apps, *object)
	case *v1alpha1.AccountList:
		o.Lists = append(o.Lists, *object)
	case *v1alpha1.GroupPolicy:
		o.Policies = append(o.Policies, *object)
	case *v1alpha1.PruneRun:
		o.Runs = append(o.Runs, *object)
	}
	return key
}

func documentsOf(path string, in io.Reader) ([]Document, error) {
	if path == Stdin {
		return split("the standard input", in)
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.IsDir():
		return documentsIn(path)
	}
	var documents []Document
	err = filepath.WalkDir(path, func(path string, entry fs.DirEntry, err error) error {
		var read []Document
		switch {
		case err != nil:
			return err
		case entry.IsDir() && isKustomization(path):
			if read, err = build(path); err == nil {
				err = fs.SkipDir
			}
		case !entry.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)):
			read, err = documentsIn(path)
		}
		documents = append(documents, read...)
		return err
	})
	return documents, err
}

func isKustomization(folder string) bool {
	return slices.ContainsFunc(konfig.RecognizedKustomizationFileNames(), func(name string) bool {
		info, err := os.Stat(filepath.Join(folder, name))
		return err == nil && !info.IsDir()
	})
}

// build builds a kustomization. Remote bases are fetched with git, as kustomize does.
func build(folder string) ([]Document, error) {
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionUnspecified // the default warns of kustomizations that say how to sort
	built, err := krusty.MakeKustomizer(options).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		return nil, fmt.Errorf("build the kustomization in %s: %w", folder, err)
	}
	text, err := built.AsYaml()
	if err != nil {
		return nil, fmt.Errorf("build the kustomization in %s: %w", folder, err)
	}
	documents, err := split("the kustomization in "+folder, bytes.NewReader(text))
	for i := range documents {
		documents[i].File, documents[i].Line = folder, 0
	}
	return documents, err
}

func documentsIn(path string) (documents []Document, err error) {
	file, err := os.Open(path) //nolint:gosec // the user names the files to read
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return split(path, file)
}

func split(where string, in io.Reader) ([]Document, error) {
	var documents []Document
	reader := yaml.NewYAMLReader(bufio.NewReader(in))
	for line, read := 1, 0; ; {
		text, err := reader.Read()
		switch {
		case errors.Is(err, io.EOF):
			return documents, nil
		case err != nil:
			return nil, fmt.Errorf("%s: %w", where, err)
		}
		at := where
		if read > 0 {
			at = fmt.Sprintf("%s, document %d", where, read+1)
		}
		items, err := itemsOf(Document{Text: text, File: where, Line: line, where: at})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		documents = append(documents, items...)
		read++
		line += bytes.Count(text, []byte("\n")) + 1 // the separator
	}
}

// aList is in every list of objects, such as kubectl prints.
var aList = regexp.MustCompile(`"?kind"?:\s*"?(List|IMAppList|AccountListList|GroupPolicyList|PruneRunList)\b`)

// itemsOf returns the objects of a list, and any other document as it is.
func itemsOf(d Document) ([]Document, error) {
	if !aList.Match(d.Text) {
		return []Document{d}, nil
	}
	var list struct {
		Kind  string                    `json:"kind"`
		Items []encodingjson.RawMessage `json:"items"`
	}
	if err := sigsyaml.Unmarshal(d.Text, &list); err != nil {
		return nil, err
	}
	if !aList.MatchString("kind: " + list.Kind) {
		return []Document{d}, nil
	}
	items := make([]Document, len(list.Items))
	for i, item := range list.Items {
		items[i] = Document{Text: item, File: d.File, Line: d.Line, where: fmt.Sprintf("%s, item %d", d.where, i+1)}
	}
	return items, nil
}

// ourKind is in every object of the four kinds, also if its apiVersion is missing or mistyped.
var ourKind = regexp.MustCompile(`"?kind"?:\s*["']?(IMApp|AccountList|GroupPolicy|PruneRun)\b`)

// JSON returns the document as JSON, with its kind and version. It returns nil if it is of another group than that of
// the four kinds. A key that comes twice is an error, and so is another version, or one of the kinds without the group.
func (d *Document) JSON() ([]byte, metav1.TypeMeta, error) {
	var meta metav1.TypeMeta
	if !bytes.Contains(d.Text, []byte(v1alpha1.GroupVersion.Group+"/")) && !ourKind.Match(d.Text) {
		return nil, meta, nil
	}
	text, err := sigsyaml.YAMLToJSONStrict(d.Text)
	if err != nil {
		return nil, meta, err
	}
	if err := json.UnmarshalCaseSensitivePreserveInts(text, &meta); err != nil {
		return nil, meta, err
	}
	group, version, _ := strings.Cut(meta.APIVersion, "/")
	switch {
	case New(meta.Kind) != nil && group != v1alpha1.GroupVersion.Group &&
		(!strings.Contains(meta.APIVersion, "/") || strings.HasPrefix(group, "groupgate")):
		return nil, meta, fmt.Errorf("the apiVersion of a %s is %q: use %s",
			meta.Kind, meta.APIVersion, v1alpha1.GroupVersion)
	case group != v1alpha1.GroupVersion.Group:
		return nil, meta, nil
	case version != v1alpha1.GroupVersion.Version:
		return nil, meta, fmt.Errorf("apiVersion %s is not known: use %s", meta.APIVersion, v1alpha1.GroupVersion)
	case New(meta.Kind) == nil:
		return nil, meta, fmt.Errorf("kind %q is not known: use IMApp, AccountList, GroupPolicy or PruneRun", meta.Kind)
	}
	return text, meta, nil
}

// decode returns the object of a document, nil if it is of another group.
func (d *Document) decode() (metav1.Object, error) {
	text, meta, err := d.JSON()
	if text == nil || err != nil {
		return nil, err
	}
	object := New(meta.Kind)
	problems, err := json.UnmarshalStrict(text, object)
	if err := errors.Join(append(problems, err)...); err != nil {
		return nil, fmt.Errorf("%s %s: %w", meta.Kind, object.GetName(), err)
	}
	return object, nil
}

// New returns an empty object of one of the four kinds, nil for any other kind.
func New(kind string) metav1.Object {
	switch kind {
	case "IMApp":
		return &v1alpha1.IMApp{}
	case "AccountList":
		return &v1alpha1.AccountList{}
	case "GroupPolicy":
		return &v1alpha1.GroupPolicy{}
	case "PruneRun":
		return &v1alpha1.PruneRun{}
	}
	return nil
}
