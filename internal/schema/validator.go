package schema

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	apiservervalidation "k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/groupgate/groupgate/config/crd"
)

// Validator validates the objects of one kind.
type Validator struct {
	kind       schema.GroupVersionKind
	structural *structuralschema.Structural
	schema     apiservervalidation.SchemaValidator
	rules      func() *cel.Validator // compiled when they are needed first
}

// Validators returns the validators of the embedded CustomResourceDefinitions, by kind. They are built once, which
// takes milliseconds; the first object of a kind takes longer, since the rules of its kind are compiled then.
func Validators() (map[string]*Validator, error) { return validators() }

var validators = sync.OnceValues(func() (map[string]*Validator, error) {
	definitions, err := definitions()
	if err != nil {
		return nil, err
	}
	validators := map[string]*Validator{}
	for _, definition := range definitions {
		v, err := newValidator(definition)
		if err != nil {
			return nil, fmt.Errorf("CustomResourceDefinition %s: %w", definition.Name, err)
		}
		validators[v.kind.Kind] = v
	}
	return validators, nil
})

// definitions returns the embedded CustomResourceDefinitions.
func definitions() ([]*apiextensionsv1.CustomResourceDefinition, error) {
	const folder = "bases"
	files, err := crd.FS.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var all []*apiextensionsv1.CustomResourceDefinition
	for _, file := range files {
		text, err := crd.FS.ReadFile(folder + "/" + file.Name())
		if err != nil {
			return nil, err
		}
		definition := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(text, definition); err != nil {
			return nil, fmt.Errorf("%s: %w", file.Name(), err)
		}
		apiextensionsv1.SetDefaults_CustomResourceDefinition(definition)
		all = append(all, definition)
	}
	return all, nil
}

func newValidator(definition *apiextensionsv1.CustomResourceDefinition) (*Validator, error) {
	version := definition.Spec.Versions[0]
	var internal apiextensions.JSONSchemaProps
	err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(
		version.Schema.OpenAPIV3Schema, &internal, nil)
	if err != nil {
		return nil, err
	}
	structural, err := structuralschema.NewStructural(&internal)
	if err != nil {
		return nil, err
	}
	validator, _, err := apiservervalidation.NewSchemaValidator(&internal)
	if err != nil {
		return nil, err
	}
	return &Validator{
		kind: schema.GroupVersionKind{
			Group: definition.Spec.Group, Version: version.Name, Kind: definition.Spec.Names.Kind,
		},
		structural: structural,
		schema:     validator,
		rules: sync.OnceValue(func() *cel.Validator {
			return cel.NewValidator(structural, true, celconfig.PerCallLimit)
		}),
	}, nil
}

// Problem is why the API server would refuse an object.
type Problem struct {
	// Field is the path of the field, such as spec.groups[0].type, or empty.
	Field string
	// Message is what the API server says, the path included.
	Message string
}

// Create answers a request to create the object of a JSON document, in that namespace unless it names one, as the API
// server would with strict validation of fields: it returns the object with its defaults and without its status, and,
// in the words of the API server, why it would refuse the object. The object is nil if it cannot be decoded.
func (v *Validator) Create(ctx context.Context, document []byte, namespace string) (
	object *unstructured.Unstructured, problems []Problem,
) {
	u, unknown, err := v.decode(document)
	if err != nil {
		problem := Problem{Message: fmt.Sprintf("%s in version %q cannot be handled as a %s: %v",
			v.kind.Kind, v.kind.Version, v.kind.Kind, err)}
		if len(unknown) > 0 {
			problem.Field = unknown[0]
		}
		return nil, []Problem{problem}
	}
	delete(u.Object, "status") // creating an object cannot set its status
	if u.GetNamespace() == "" {
		u.SetNamespace(namespace)
	}
	if u.GetName() == "" && u.GetGenerateName() != "" {
		u.SetName(u.GetGenerateName() + generated)
	}
	for _, err := range v.validate(ctx, u) {
		problems = append(problems, Problem{Field: err.Field, Message: err.Error()})
	}
	return u, problems
}

// generated is what a generated name might end with.
const generated = "xxxxx"

// decode decodes a document as the API server decodes the body of a request. Nulls are gone afterwards, and defaults
// are there. It returns the unknown fields, too, which are an error.
func (v *Validator) decode(document []byte) (_ *unstructured.Unstructured, unknown []string, _ error) {
	u := &unstructured.Unstructured{}
	strict, err := json.UnmarshalStrict(document, &u.Object)
	if err != nil {
		return nil, nil, err
	}
	meta, found, unknown, err := objectmeta.GetObjectMetaWithOptions(u.Object,
		objectmeta.ObjectMetaOptions{ReturnUnknownFieldPaths: true})
	if err != nil {
		return nil, nil, err
	}
	unknown = append(unknown, pruning.PruneWithOptions(u.Object, v.structural, true,
		structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})...)
	defaulting.PruneNonNullableNullsWithoutDefaults(u.Object, v.structural)
	if found {
		if err := objectmeta.SetObjectMeta(u.Object, meta); err != nil {
			return nil, nil, err
		}
	}
	for _, path := range unknown {
		strict = append(strict, fmt.Errorf("unknown field %q", path))
	}
	if len(strict) > 0 {
		return nil, unknown, runtime.NewStrictDecodingError(strict)
	}
	u.SetGroupVersionKind(v.kind)
	defaulting.Default(u.Object, v.structural)
	return u, nil, nil
}

// validate is what the API server checks of an object that is to be created. See customResourceStrategy.Validate there.
func (v *Validator) validate(ctx context.Context, u *unstructured.Unstructured) field.ErrorList {
	var meta metav1.ObjectMeta
	metadata, _ := u.Object["metadata"].(map[string]any)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(metadata, &meta); err != nil {
		return field.ErrorList{field.Invalid(field.NewPath("metadata"), metadata, err.Error())}
	}
	problems := apivalidation.ValidateObjectMeta(&meta, true, apivalidation.NameIsDNSSubdomain,
		field.NewPath("metadata"))
	problems = append(problems, apiservervalidation.ValidateCustomResource(nil, u.Object, v.schema)...)
	problems = append(problems, listtype.ValidateListSetsAndMaps(nil, v.structural, u.Object)...)
	rules := v.rules()
	if rules == nil {
		return problems // the kind has none
	}
	for _, problem := range problems {
		switch problem.Type {
		case field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong, field.ErrorTypeTooMany,
			field.ErrorTypeTypeInvalid:
			return append(problems, field.Invalid(nil, nil, errRulesNotChecked.Error()))
		}
	}
	found, _ := rules.Validate(ctx, nil, v.structural, u.Object, nil, celconfig.RuntimeCELCostBudget)
	return append(problems, found...)
}

var errRulesNotChecked = errors.New("some validation rules were not checked because the object was invalid; " +
	"correct the existing errors to complete validation")
