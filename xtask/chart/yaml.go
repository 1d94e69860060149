// Values as YAML, in the form that Helm's toYaml gives them: keys sorted, blocks, lists as deep as their key.
package main

import (
	"fmt"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// What YAML 1.1 or 1.2 would take for something else than text, or for the beginning of something else.
var notPlain = regexp.MustCompile(`(?i)^(|~|null|true|false|yes|no|on|off|y|n|[-+]?[0-9.][0-9a-fox_.:+-]*|\.(inf|nan)|=|<<)$` +
	"|^[-?:] |^[-?:]$|^[,\\[\\]{}#&*!|>'\"%@`]|: |:$| #|^\\s|\\s$|[^\\x20-\\x7e\\x{a0}-\\x{d7ff}\\x{e000}-\\x{fffd}]")

func yamlOf(value any, pad string) string {
	switch value := value.(type) {
	case map[string]any:
		return yamlOfMap(value, pad)
	case []any:
		if len(value) == 0 {
			return "[]\n"
		}
		var out strings.Builder
		for _, item := range value {
			// The first line of an item stands behind its dash.
			out.WriteString(pad + "- " + strings.TrimPrefix(yamlOf(item, pad+"  "), pad+"  "))
		}
		return out.String()
	case string:
		return text(value, pad) + "\n"
	case float64:
		return strconv.FormatFloat(value, 'f', -1, 64) + "\n"
	case nil:
		return "null\n"
	default:
		return fmt.Sprint(value) + "\n"
	}
}

func yamlOfMap(value map[string]any, pad string) string {
	if len(value) == 0 {
		return "{}\n"
	}
	keys := make([]string, 0, len(value))
	for key := range value {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	var out strings.Builder
	for _, key := range keys {
		out.WriteString(pad + text(key, pad) + ":")
		switch inner := value[key].(type) {
		case map[string]any:
			out.WriteString(below(len(inner), yamlOf(inner, pad+"  ")))
		case []any:
			out.WriteString(below(len(inner), yamlOf(inner, pad)))
		default:
			out.WriteString(" " + yamlOf(inner, pad))
		}
	}
	return out.String()
}

// An empty map or list stands beside its key.
func below(length int, text string) string {
	if length == 0 {
		return " " + text
	}
	return "\n" + text
}

func text(value, pad string) string {
	if lines := strings.TrimSuffix(value, "\n"); strings.Contains(lines, "\n") && !strings.HasPrefix(value, " ") && !strings.HasSuffix(lines, "\n") {
		mark := "|"
		if lines == value {
			mark = "|-"
		}
		return mark + "\n" + pad + "  " + strings.ReplaceAll(lines, "\n", "\n"+pad+"  ")
	}
	if notPlain.MatchString(value) {
		return strconv.Quote(value)
	}
	return value
}
