package config

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// rule is what a setting's value must be beyond its type. In the table:
//
//   - anything
//     1..9  1..    a number within bounds, both included
//     1..9|-1      the same, or -1
//     {a|b}        one of these; i{a|b}: in any case
//     list         elements are not empty; list+: there is one at least; list{a|b}: each is one of these
//     nonempty     not the empty string
//     others       a shape of its own, see checkShape
type rule struct {
	bounded    bool
	min, max   float64 // of doubles
	low, high  int64   // of integers
	orMinusOne bool
	choices    []string
	anyCase    bool
	shape      string // list, list+, nonempty, throttledreplicalist, voters, bootstrapservers, autooffsetreset
}

func parseRule(text string) (r rule, err error) {
	if text == "-" {
		return r, nil
	}
	if i := strings.IndexByte(text, '{'); i >= 0 {
		r.choices = strings.Split(strings.TrimSuffix(text[i+1:], "}"), "|")
		r.anyCase = text[:i] == "i"
		if !r.anyCase {
			r.shape = text[:i]
		}
		return r, nil
	}
	low, high, bounds := strings.Cut(text, "..")
	if !bounds {
		r.shape = text
		return r, nil
	}
	r.bounded = true
	high, _, r.orMinusOne = strings.Cut(high, "|")
	if r.min, r.low, err = number(low, math.MinInt64); err != nil {
		return r, err
	}
	r.max, r.high, err = number(high, math.MaxInt64)
	return r, err
}

// number reads one bound; an empty one is none.
func number(text string, none int64) (float64, int64, error) {
	if text == "" {
		return math.Inf(int(max(min(none, 1), -1))), none, nil
	}
	f, err := strconv.ParseFloat(text, 64)
	return f, int64(f), err
}

// Check says whether value is valid. The error's text is Kafka's.
func (s *Setting) Check(value string) error {
	trimmed := strings.TrimSpace(value)
	switch s.Kind {
	case Boolean:
		if !strings.EqualFold(trimmed, "true") && !strings.EqualFold(trimmed, "false") {
			return s.invalid(value, "Expected value to be either true or false")
		}
	case Int, Short, Long:
		n, err := strconv.ParseInt(trimmed, 10, map[Kind]int{Int: 32, Short: 16, Long: 64}[s.Kind])
		if err != nil {
			return s.invalid(value, "Not a number of type %s", s.Kind)
		}
		return s.checkInt(n)
	case Double:
		f, ok := parseJavaDouble(trimmed)
		if !ok {
			return s.invalid(value, "Not a number of type %s", s.Kind)
		}
		return s.checkDouble(f)
	case List:
		return s.checkList(trimmed)
	case Class:
		// A class that is not Kafka's default cannot be here.
		if s.None || trimmed != s.Default {
			return s.invalid(value, "Class %s could not be found.", trimmed)
		}
	case String:
		return s.checkString(trimmed)
	}
	return nil
}

// invalid is Kafka's refusal of a value.
func (s *Setting) invalid(value, format string, args ...any) error {
	return fmt.Errorf("Invalid value %s for configuration %s: %s", value, s.Name, fmt.Sprintf(format, args...))
}

func (s *Setting) checkInt(n int64) error {
	text := strconv.FormatInt(n, 10)
	switch r := &s.rule; {
	case !r.bounded:
	case r.orMinusOne:
		if n != -1 && (n < r.low || n > r.high) {
			return s.invalid(text, "Value must be between %d and %d or equal to -1", r.low, r.high)
		}
	case n < r.low:
		return s.invalid(text, "Value must be at least %d", r.low)
	case n > r.high:
		return s.invalid(text, "Value must be no more than %d", r.high)
	}
	return nil
}

func (s *Setting) checkDouble(f float64) error {
	switch r := &s.rule; {
	case !r.bounded:
	case f < r.min:
		return s.invalid(javaDouble(f), "Value must be at least %v", r.min)
	case f > r.max:
		return s.invalid(javaDouble(f), "Value must be no more than %v", r.max)
	}
	return nil
}

func (s *Setting) checkString(value string) error {
	r := &s.rule
	switch {
	case r.shape == "autooffsetreset":
		if _, ok := ParseOffsetReset(value); !ok {
			return s.invalid(value, "Invalid value `%s` for configuration %s. The value must be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'.", value, s.Name)
		}
	case r.shape == "nonempty" && value == "":
		return s.invalid(value, "String must be non-empty")
	case r.anyCase && !slices.ContainsFunc(r.choices, func(c string) bool { return strings.EqualFold(c, value) }):
		return s.invalid(value, "String must be one of (case insensitive): %s", strings.Join(r.choices, ", "))
	case r.choices != nil && !r.anyCase && !slices.Contains(r.choices, value):
		return s.invalid(value, "String must be one of: %s", strings.Join(r.choices, ", "))
	}
	return nil
}

// elements is how Kafka reads a list: spaces around commas go, empty elements
// stay, but the empty string is the empty list.
func elements(trimmed string) (list []string) {
	if trimmed == "" {
		return nil
	}
	for _, e := range strings.Split(trimmed, ",") {
		list = append(list, strings.TrimSpace(e))
	}
	return list
}

func (s *Setting) checkList(trimmed string) error {
	r, list := &s.rule, elements(trimmed)
	switch r.shape {
	case "list", "list+":
	case "":
		return nil
	default:
		return s.checkShape(list)
	}
	if len(list) == 0 && r.shape == "list+" {
		valid := "any non-empty value"
		if r.choices != nil {
			valid = "[" + strings.Join(r.choices, ", ") + "]"
		}
		return fmt.Errorf("Configuration '%s' must not be empty. Valid values include: %s", s.Name, valid)
	}
	for _, e := range list {
		switch {
		case e == "":
			return fmt.Errorf("Configuration '%s' values must not be empty.", s.Name)
		case r.choices != nil && !slices.Contains(r.choices, e):
			return s.invalid(e, "String must be one of: %s", strings.Join(r.choices, ", "))
		}
	}
	return nil
}

// checkShape checks lists whose elements have a shape of their own.
func (s *Setting) checkShape(list []string) error {
	switch s.rule.shape {
	case "throttledreplicalist":
		for _, e := range list {
			if e != "" && !throttledReplica(e) && !slices.Equal(list, []string{"*"}) {
				return s.invalid("["+strings.Join(list, ", ")+"]", "%s must be the literal '*' or a list of replicas in the following format: "+
					"[partitionId]:[brokerId],[partitionId]:[brokerId],...", s.Name)
			}
		}
	case "voters":
		for _, e := range list {
			id, address, ok := strings.Cut(e, "@")
			if _, err := strconv.ParseUint(id, 10, 31); !ok || err != nil || !endsInPort(address) {
				return fmt.Errorf("Invalid configuration value for %s. Each entry should be in the form `{id}@{host}:{port}`.", s.Name)
			}
		}
	case "bootstrapservers":
		for _, e := range list {
			if !endsInPort(e) || strings.ContainsAny(e, "@/ ") {
				return fmt.Errorf("Failed to parse host name from %s for the configuration %s. Each entry should be in the form \"{host}:{port}\"", e, s.Name)
			}
		}
	}
	return nil
}

// throttledReplica matches partition:broker.
func throttledReplica(e string) bool {
	digits := func(s string) bool {
		return s != "" && strings.Trim(s, "0123456789") == ""
	}
	partition, broker, ok := strings.Cut(e, ":")
	return ok && digits(partition) && digits(broker)
}

// endsInPort matches host:port.
func endsInPort(address string) bool {
	i := strings.LastIndexByte(address, ':')
	if i <= 0 {
		return false
	}
	_, err := strconv.ParseUint(address[i+1:], 10, 31)
	return err == nil
}

// parseJavaDouble reads what Double.parseDouble reads: a type suffix is allowed,
// Go's underscores and short names of infinity are not, hexadecimal wants an
// exponent, and too large a number is infinite.
func parseJavaDouble(s string) (float64, bool) {
	unsigned := strings.TrimLeft(s, "+-")
	switch unsigned {
	case "NaN", "Infinity":
	default:
		if strings.ContainsRune(unsigned, '_') || strings.ContainsAny(unsigned, "iInN") {
			return 0, false
		}
		hexadecimal := strings.HasPrefix(strings.ToLower(unsigned), "0x")
		if hexadecimal && !strings.ContainsAny(s, "pP") {
			return 0, false
		}
		s = strings.TrimRight(s, "fFdD")
		if len(unsigned)-len(strings.TrimRight(unsigned, "fFdD")) > 1 {
			return 0, false
		}
	}
	if s == "+NaN" || s == "-NaN" {
		return math.NaN(), true
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil || errors.Is(err, strconv.ErrRange)
}

// javaDouble is Double.toString.
func javaDouble(f float64) string {
	if math.IsNaN(f) {
		return "NaN"
	}
	if math.IsInf(f, 0) {
		return map[bool]string{true: "Infinity", false: "-Infinity"}[f > 0]
	}
	if a := math.Abs(f); a != 0 && (a < 1e-3 || a >= 1e7) {
		mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'E', -1, 64), "E")
		if !strings.Contains(mantissa, ".") {
			mantissa += ".0"
		}
		n, _ := strconv.Atoi(exponent)
		return mantissa + "E" + strconv.Itoa(n)
	}
	text := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

// Allowed says in a few words which values Check accepts; empty: any of its type.
func (s *Setting) Allowed() string {
	r := &s.rule
	switch {
	case r.choices != nil:
		return strings.Join(r.choices, ", ")
	case r.shape == "throttledreplicalist":
		return "partition:broker, ... or *"
	case r.shape == "autooffsetreset":
		return "earliest, latest, by_duration:PnDTnHnMn.nS"
	case r.shape == "voters":
		return "id@host:port, ..."
	case r.shape == "bootstrapservers":
		return "host:port, ..."
	case r.shape == "nonempty" || r.shape == "list+":
		return "not empty"
	case !r.bounded:
		return ""
	case r.orMinusOne:
		return fmt.Sprintf("%d to %d, or -1", r.low, r.high)
	case s.Kind == Double:
		return fmt.Sprintf("%v to %v", r.min, r.max)
	case r.high >= 1<<62:
		return fmt.Sprintf("at least %d", r.low)
	}
	return fmt.Sprintf("%d to %d", r.low, r.high)
}
