// Renders the templates of a Helm chart, without Helm: the language is Go's text/template, which is what Helm itself uses, and the
// functions are those that the chart calls, as Helm and sprig define them. In: a JSON document on standard input, with the chart's
// facts, all values, and the templates. Out: the rendered documents, as `helm template` prints them. A function that is not here is
// an error, never left out.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"text/template"
)

// What comes in.
type input struct {
	Chart       map[string]any
	Release     map[string]any
	KubeVersion string
	Values      map[string]any
	Templates   []struct{ Name, Text string }
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var in input
	if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil {
		return err
	}
	all := template.New("chart").Option("missingkey=zero")
	all.Funcs(functions(all))
	for _, one := range in.Templates {
		if _, err := all.New(one.Name).Parse(one.Text); err != nil {
			return err
		}
	}
	context := map[string]any{
		"Chart":        in.Chart,
		"Release":      in.Release,
		"Values":       in.Values,
		"Capabilities": map[string]any{"KubeVersion": map[string]any{"Version": in.KubeVersion}},
	}
	notes := ""
	for _, one := range in.Templates {
		// Files that begin with an underscore hold definitions alone.
		if strings.HasPrefix(one.Name[strings.LastIndex(one.Name, "/")+1:], "_") {
			continue
		}
		var out bytes.Buffer
		if err := all.ExecuteTemplate(&out, one.Name, context); err != nil {
			return err
		}
		// Helm makes no document of what is empty.
		text := strings.TrimSpace(out.String())
		if text == "" {
			continue
		}
		// What people are told at the end is no document.
		if strings.HasSuffix(one.Name, "/NOTES.txt") {
			notes = fmt.Sprintf("# NOTES:\n# %s\n", strings.ReplaceAll(text, "\n", "\n# "))
			continue
		}
		fmt.Printf("---\n# Source: %s\n%s\n", one.Name, text)
	}
	fmt.Print(strings.ReplaceAll(notes, "# \n", "#\n"))
	return nil
}

func functions(all *template.Template) template.FuncMap {
	return template.FuncMap{
		"include": func(name string, data any) (string, error) {
			var out strings.Builder
			err := all.ExecuteTemplate(&out, name, data)
			return out.String(), err
		},
		"fail": func(why string) (string, error) { return "", errors.New(why) },
		"default": func(otherwise, value any) any {
			if set, _ := template.IsTrue(value); set {
				return value
			}
			return otherwise
		},
		"trunc": func(length int, text string) string {
			if len(text) > length {
				return text[:length]
			}
			return text
		},
		"base":       path.Base,
		"dir":        path.Dir,
		"trimSuffix": func(suffix, text string) string { return strings.TrimSuffix(text, suffix) },
		"contains":   func(part, text string) bool { return strings.Contains(text, part) },
		"replace":    func(old, other, text string) string { return strings.ReplaceAll(text, old, other) },
		"quote":      func(text any) string { return fmt.Sprintf("%q", fmt.Sprint(text)) },
		"nindent": func(spaces int, text string) string {
			pad := strings.Repeat(" ", spaces)
			return "\n" + pad + strings.ReplaceAll(text, "\n", "\n"+pad)
		},
		"sha256sum":     func(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) },
		"toYaml":        func(value any) string { return strings.TrimSuffix(yamlOf(value, ""), "\n") },
		"semverCompare": atLeast,
	}
}

// The one kind of constraint that the chart asks for: `>=MAJOR.MINOR-0`.
func atLeast(constraint, version string) (bool, error) {
	wanted, ok := strings.CutSuffix(constraint, "-0")
	wanted, begins := strings.CutPrefix(wanted, ">=")
	if !ok || !begins {
		return false, fmt.Errorf("semverCompare: only >=MAJOR.MINOR-0 is understood, not %s", constraint)
	}
	parts := func(text string) (major, minor int, err error) {
		fields := strings.Split(strings.TrimPrefix(text, "v"), ".")
		if len(fields) < 2 {
			return 0, 0, fmt.Errorf("semverCompare: %s is no version", text)
		}
		major, errMajor := strconv.Atoi(fields[0])
		minor, errMinor := strconv.Atoi(fields[1])
		return major, minor, errors.Join(errMajor, errMinor)
	}
	major, minor, err := parts(version)
	if err != nil {
		return false, err
	}
	leastMajor, leastMinor, err := parts(wanted)
	return major > leastMajor || major == leastMajor && minor >= leastMinor, err
}
