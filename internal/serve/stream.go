package serve

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"reflect"
	"slices"
	"strings"
)

// longList is the least length of a list that is written once only.
const longList = 8

// stream writes a value as encoding/json would, indented, but element by element:
// a state of 10,000 Services never is in memory as text.
//
// A list that was written before is not written again, unless all is to be whole: many
// Services share one list of all nodes. Instead there is a list with one element, such as
//
//	[{"As": "Table.Decisions[0].Nodes"}]
type stream struct {
	w    *bufio.Writer
	all  bool     // every list is whole
	path []string // of what is being written
	same map[identity]string
	text map[uint64]string // where a text was written, by its hash
	seed maphash.Seed
}

// identity is that of a list in memory.
type identity struct {
	at  uintptr
	len int
	is  reflect.Type
}

func newStream(w *bufio.Writer) *stream {
	return &stream{w: w, same: map[identity]string{}, text: map[uint64]string{}, seed: maphash.MakeSeed()}
}

// value writes one value.
func (s *stream) value(v reflect.Value) error {
	for v.Kind() == reflect.Interface && !v.IsNil() {
		v = v.Elem()
	}
	if isLeaf(v) {
		return s.leaf(v)
	}
	switch v.Kind() {
	case reflect.Pointer:
		return s.value(v.Elem())
	case reflect.Struct:
		return s.object(s.fields(v, nil))
	case reflect.Map:
		return s.mapping(v)
	default: // a list
		return s.list(v)
	}
}

// isLeaf tells whether encoding/json writes the value as a whole.
func isLeaf(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Struct, reflect.Array:
		return marshals(v.Type())
	case reflect.Pointer, reflect.Map, reflect.Slice:
		return v.IsNil() || marshals(v.Type()) || v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8
	default:
		return true
	}
}

var (
	asJSON = reflect.TypeFor[json.Marshaler]()
	asText = reflect.TypeFor[encoding.TextMarshaler]()
)

func marshals(t reflect.Type) bool { return t.Implements(asJSON) || t.Implements(asText) }

func (s *stream) leaf(v reflect.Value) error {
	if !v.IsValid() {
		return s.raw("null")
	}
	text, err := json.Marshal(v.Interface())
	if err != nil {
		return fmt.Errorf("%s: %w", strings.Join(s.path, ""), err)
	}
	return s.raw(string(text))
}

func (s *stream) raw(text string) error {
	_, err := s.w.WriteString(text)
	return err
}

// member is one of an object.
type member struct {
	name  string
	value reflect.Value
}

// fields are those of a struct, with those of the structs that it embeds.
func (s *stream) fields(v reflect.Value, out []member) []member {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct && !marshals(f.Type):
			out = s.fields(v.Field(i), out)
		case !f.IsExported() || name == "-":
		case strings.Contains(options, "omitempty") && isEmpty(v.Field(i)):
		default:
			out = append(out, member{cmp.Or(name, f.Name), v.Field(i)})
		}
	}
	return out
}

func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Map, reflect.Slice, reflect.String, reflect.Array:
		return v.Len() == 0
	case reflect.Struct:
		return false
	default:
		return v.IsZero()
	}
}

func (s *stream) object(members []member) error {
	return s.between("{", "}", len(members), func(i int) error {
		m := members[i]
		if err := s.leaf(reflect.ValueOf(m.name)); err != nil {
			return err
		}
		if err := s.raw(": "); err != nil {
			return err
		}
		step := m.name
		if len(s.path) > 0 {
			step = "." + step
		}
		return s.at(step, m.value)
	})
}

// mapping sorts by key, as encoding/json does.
func (s *stream) mapping(v reflect.Value) error {
	members := make([]member, 0, v.Len())
	for it := v.MapRange(); it.Next(); {
		key, err := keyText(it.Key())
		if err != nil {
			return err
		}
		members = append(members, member{key, it.Value()})
	}
	slices.SortFunc(members, func(a, b member) int { return cmp.Compare(a.name, b.name) })
	return s.object(members)
}

func keyText(k reflect.Value) (string, error) {
	if t, ok := k.Interface().(encoding.TextMarshaler); ok {
		text, err := t.MarshalText()
		return string(text), err
	}
	return fmt.Sprint(k.Interface()), nil
}

func (s *stream) list(v reflect.Value) error {
	if !s.all && v.Len() >= longList {
		if where, ok, err := s.before(v); err != nil {
			return err
		} else if ok {
			return s.object1(where)
		}
	}
	return s.between("[", "]", v.Len(), func(i int) error { return s.at(fmt.Sprintf("[%d]", i), v.Index(i)) })
}

// object1 refers to a list that was written before.
func (s *stream) object1(where string) error {
	text, err := json.Marshal([]struct{ As string }{{where}})
	if err != nil {
		return err
	}
	return s.raw(string(text))
}

// before tells where a list was written before, and otherwise remembers that it is
// written now. Only lists of plain structs are compared by what is in them: those of
// nodes and weights.
func (s *stream) before(v reflect.Value) (where string, ok bool, err error) {
	now := strings.Join(s.path, "")
	id := identity{v.Pointer(), v.Len(), v.Type()}
	if where, ok = s.same[id]; ok {
		return where, true, nil
	}
	s.same[id] = now
	if t := v.Type().Elem(); t.Kind() != reflect.Struct || !t.Comparable() || t.NumField() > 2 {
		return "", false, nil
	}
	text, err := json.Marshal(v.Interface())
	if err != nil {
		return "", false, fmt.Errorf("%s: %w", now, err)
	}
	sum := maphash.Bytes(s.seed, text)
	if where, ok = s.text[sum]; ok {
		s.same[id] = where
		return where, true, nil
	}
	s.text[sum] = now
	return "", false, nil
}

func (s *stream) at(step string, v reflect.Value) error {
	s.path = append(s.path, step)
	err := s.value(v)
	s.path = s.path[:len(s.path)-1]
	return err
}

// between writes n things in brackets, each on its own line.
func (s *stream) between(begin, end string, n int, one func(i int) error) error {
	if n == 0 {
		return s.raw(begin + end)
	}
	depth := len(s.path)
	for i := range n {
		lead := ","
		if i == 0 {
			lead = begin
		}
		if err := s.raw(lead + newLine(depth+1)); err != nil {
			return err
		}
		if err := one(i); err != nil {
			return err
		}
	}
	return s.raw(newLine(depth) + end)
}

func newLine(depth int) string { return "\n" + string(bytes.Repeat([]byte("  "), depth)) }
