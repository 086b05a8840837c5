package manifests

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
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

// document is one YAML document, and where it stands.
type document struct {
	text  []byte
	where string
}

// Read reads the objects of files and folders; [Stdin] is in. A folder with a kustomization is built, of any other one
// every .yaml, .yml and .json in it is read, at any depth. Objects of other groups are passed over. Objects without a
// namespace are in that one. An unknown field is an error, and so is an object that comes twice.
func Read(paths []string, namespace string, in io.Reader) (*Objects, error) {
	var documents []document
	for _, path := range paths {
		read, err := documentsOf(path, in)
		if err != nil {
			return nil, err
		}
		documents = append(documents, read...)
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
		kind := reflect.TypeOf(object).Elem().Name()
		key := kind + " " + object.GetNamespace() + "/" + object.GetName()
		object.SetUID(cmp.Or(object.GetUID(), types.UID(key)))
		if first, twice := seen[key]; twice {
			return nil, fmt.Errorf("%s: %s is in %s as well", documents[i].where, key, first)
		}
		seen[key] = documents[i].where
		o.add(object)
	}
	return o, nil
}

func (o *Objects) add(object metav1.Object) {
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
}

func documentsOf(path string, in io.Reader) ([]document, error) {
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
	var documents []document
	err = filepath.WalkDir(path, func(path string, entry fs.DirEntry, err error) error {
		var read []document
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
func build(folder string) ([]document, error) {
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
	return split("the kustomization in "+folder, bytes.NewReader(text))
}

func documentsIn(path string) (documents []document, err error) {
	file, err := os.Open(path) //nolint:gosec // the user names the files to read
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return split(path, file)
}

func split(where string, in io.Reader) ([]document, error) {
	var documents []document
	reader := yaml.NewYAMLReader(bufio.NewReader(in))
	for {
		text, err := reader.Read()
		switch {
		case errors.Is(err, io.EOF):
			return documents, nil
		case err != nil:
			return nil, fmt.Errorf("%s: %w", where, err)
		}
		at := where
		if len(documents) > 0 {
			at = fmt.Sprintf("%s, document %d", where, len(documents)+1)
		}
		documents = append(documents, document{text: text, where: at})
	}
}

// decode returns the object of a document, nil if it is of another group.
func (d *document) decode() (metav1.Object, error) {
	if !bytes.Contains(d.text, []byte(v1alpha1.GroupVersion.Group+"/")) {
		return nil, nil
	}
	text, err := sigsyaml.YAMLToJSONStrict(d.text)
	if err != nil {
		return nil, err
	}
	var meta metav1.TypeMeta
	if err := json.UnmarshalCaseSensitivePreserveInts(text, &meta); err != nil {
		return nil, err
	}
	group, version, _ := strings.Cut(meta.APIVersion, "/")
	switch {
	case group != v1alpha1.GroupVersion.Group:
		return nil, nil
	case version != v1alpha1.GroupVersion.Version:
		return nil, fmt.Errorf("apiVersion %s is not known: use %s", meta.APIVersion, v1alpha1.GroupVersion)
	}
	object := newOf(meta.Kind)
	if object == nil {
		return nil, fmt.Errorf("kind %q is not known: use IMApp, AccountList, GroupPolicy or PruneRun", meta.Kind)
	}
	problems, err := json.UnmarshalStrict(text, object)
	if err := errors.Join(append(problems, err)...); err != nil {
		return nil, fmt.Errorf("%s %s: %w", meta.Kind, object.GetName(), err)
	}
	return object, nil
}

func newOf(kind string) metav1.Object {
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
