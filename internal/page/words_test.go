package page

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	tree "text/template/parse"
)

// verbs are those of fmt in a text.
var verbs = regexp.MustCompile(`%[-+# 0]*(?:\[\d+\])?[0-9.]*[a-zA-Z%]`)

// TestEveryTextIsTranslated compares the texts that the page can show with those of the Chinese catalogue.
func TestEveryTextIsTranslated(t *testing.T) {
	used := texts(t)
	for text, where := range used {
		if strings.ContainsAny(text, "<>&") {
			t.Errorf("%s: %q has a character of HTML", where, text)
		}
		chinese, ok := chineseWords[text]
		if !ok {
			t.Errorf("%s: %q has no Chinese text in words_zh.go", where, text)
			continue
		}
		if want, got := verbsOf(text), verbsOf(chinese); !slices.Equal(want, got) {
			t.Errorf("%q has the verbs %q in Chinese, want %q", text, got, want)
		}
	}
	for text := range chineseWords {
		if _, ok := used[text]; !ok {
			t.Errorf("%q is translated, and no page has it", text)
		}
	}
	for many, one := range singularWords {
		if _, ok := used[many]; !ok {
			t.Errorf("%q has a singular, and no page has it", many)
		}
		if want, got := verbsOf(many), verbsOf(one); !slices.Equal(want, got) {
			t.Errorf("%q has the verbs %q in the singular, want %q", many, got, want)
		}
	}
	for text, where := range used {
		if regexp.MustCompile(`^[^%]*%d \w+s\b`).MatchString(text) && singularWords[text] == "" {
			t.Errorf("%s: %q has no singular in words.go", where, text)
		}
	}
}

// verbsOf are the verbs of a text in the order of their arguments.
func verbsOf(text string) []string {
	found := verbs.FindAllString(text, -1)
	var of []string
	next := 0
	for _, verb := range found {
		if verb == "%%" {
			continue
		}
		if from, to := strings.Index(verb, "["), strings.Index(verb, "]"); from > 0 {
			n, _ := strconv.Atoi(verb[from+1 : to])
			next, verb = n-1, verb[:from]+verb[to+1:]
		}
		for len(of) <= next {
			of = append(of, "")
		}
		of[next] = verb
		next++
	}
	return of
}

// texts are the English texts of the templates and of the code, with where they stand: the first arguments of T, HTML
// and say, and what is assigned to fields whose values are given to T.
func texts(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	names, err := fs.Glob(files, "templates/*.html")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			t.Fatal(err)
		}
		parsed := tree.New(name)
		parsed.Mode = tree.SkipFuncCheck
		sets := map[string]*tree.Tree{}
		if _, err := parsed.Parse(string(text), "", "", sets); err != nil {
			t.Fatal(err)
		}
		for _, set := range sets {
			textsOfTemplate(t, set.Root, path.Base(name), found)
		}
	}
	sources, err := fs.Glob(os.DirFS("."), "*.go")
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := fs.Glob(os.DirFS(".."), "overview/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range elsewhere {
		sources = append(sources, path.Join("..", name))
	}
	for _, name := range sources {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(node ast.Node) bool {
			textsOfCode(t, node, name, found)
			return true
		})
	}
	return found
}

// textFields are those whose values are given to T.
var textFields = []string{"Text", "Advice", "text", "advice", "title"}

func textsOfCode(t *testing.T, node ast.Node, where string, found map[string]string) {
	t.Helper()
	add := func(value ast.Expr) {
		if text, ok := constant(value); ok && text != "" {
			found[text] = where
		}
	}
	switch node := node.(type) {
	case *ast.CallExpr:
		name := ""
		switch called := node.Fun.(type) {
		case *ast.Ident:
			name = called.Name
		case *ast.SelectorExpr:
			name = called.Sel.Name
		}
		if len(node.Args) > 0 && slices.Contains([]string{"T", "HTML", "say"}, name) {
			_, constantText := constant(node.Args[0])
			if selector, ok := node.Fun.(*ast.SelectorExpr); ok && name == "HTML" && !constantText {
				if owner, ok := selector.X.(*ast.Ident); !ok || owner.Name != "template" {
					t.Errorf("%s: the text of HTML must be a constant, since it is not escaped", where)
				}
			}
			add(node.Args[0])
		}
	case *ast.KeyValueExpr:
		if key, ok := node.Key.(*ast.Ident); ok && slices.Contains(textFields, key.Name) {
			add(node.Value)
		}
	case *ast.AssignStmt:
		for i, left := range node.Lhs {
			if field, ok := left.(*ast.SelectorExpr); ok && slices.Contains(textFields, field.Sel.Name) {
				add(node.Rhs[min(i, len(node.Rhs)-1)])
			}
		}
	}
}

// constant is the value of a string literal, or of several that are added.
func constant(value ast.Expr) (string, bool) {
	switch value := value.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(value.Value)
		return text, err == nil && value.Kind == token.STRING
	case *ast.BinaryExpr:
		left, ok := constant(value.X)
		right, also := constant(value.Y)
		return left + right, ok && also
	case *ast.ParenExpr:
		return constant(value.X)
	}
	return "", false
}

func textsOfTemplate(t *testing.T, node tree.Node, where string, found map[string]string) {
	t.Helper()
	walk := func(nodes ...tree.Node) {
		for _, node := range nodes {
			textsOfTemplate(t, node, where, found)
		}
	}
	branch := func(b *tree.BranchNode) {
		walk(b.Pipe, b.List)
		if b.ElseList != nil {
			walk(b.ElseList)
		}
	}
	switch node := node.(type) {
	case *tree.ListNode:
		walk(node.Nodes...)
	case *tree.ActionNode:
		walk(node.Pipe)
	case *tree.IfNode:
		branch(&node.BranchNode)
	case *tree.RangeNode:
		branch(&node.BranchNode)
	case *tree.WithNode:
		branch(&node.BranchNode)
	case *tree.TemplateNode:
		if node.Pipe != nil {
			walk(node.Pipe)
		}
	case *tree.PipeNode:
		for _, command := range node.Cmds {
			walk(command)
		}
	case *tree.CommandNode:
		name := node.Args[0].String()
		name = name[strings.LastIndex(name, ".")+1:]
		if len(node.Args) > 1 && (name == "T" || name == "HTML") {
			text, ok := node.Args[1].(*tree.StringNode)
			switch {
			case ok:
				found[text.Text] = where
			case name == "HTML":
				t.Errorf("%s: the text of HTML must be a constant, since it is not escaped", where)
			}
		}
		walk(node.Args[1:]...)
	}
}
