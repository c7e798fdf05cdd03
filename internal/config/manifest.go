package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The ConfigMap that users write, and its key.
const (
	ConfigMapName = "herald"
	ConfigMapKey  = "config.yaml"

	// defaultNamespace is the one in Herald's own manifests.
	defaultNamespace = "herald-system"
)

// ExamineFile reads a file of a person's disk: a configuration as such, or a
// manifest with a ConfigMap that holds one. In a manifest the lines of problems
// are those of the file.
func ExamineFile(data []byte) (c *Config, warnings Problems, err error) {
	var maps []configMap
	if err = wantUTF8(data); err == nil {
		maps, err = configMaps(data)
	}
	if err == nil && len(maps) == 0 {
		return Examine(data)
	}
	var m configMap
	if err == nil {
		m, err = choose(maps)
	}
	if err != nil {
		return nil, nil, Problems{{Message: err.Error()}}
	}
	c, warnings, err = m.examine()
	if err == nil {
		warnings = append(m.warnings(), warnings...)
	}
	return c, warnings, err
}

// configMap is a ConfigMap of a manifest.
type configMap struct {
	name, namespace *yaml.Node // nil: it does not say
	config          *yaml.Node // the value of ConfigMapKey; nil: it has none
}

// named tells whether it is the one that Herald reads.
func (m configMap) named() bool { return m.name != nil && m.name.Value == ConfigMapName }

// warnings are about a ConfigMap that Herald will not read.
func (m configMap) warnings() (list Problems) {
	if m.name != nil && !m.named() {
		list = append(list, Problem{"metadata.name", fmt.Sprintf("%q: Herald reads the ConfigMap %s and no other; write %s", m.name.Value, ConfigMapName, ConfigMapName), m.name.Line})
	}
	if m.namespace != nil && m.namespace.Value != defaultNamespace {
		list = append(list, Problem{"metadata.namespace", fmt.Sprintf("%q: Herald reads the ConfigMap of its own namespace, which is %s in its manifests; write the one where Herald runs", m.namespace.Value, defaultNamespace), m.namespace.Line})
	}
	return list
}

// configMaps finds the ConfigMaps in all documents, also within a List.
func configMaps(data []byte) (found []configMap, err error) {
	d := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		if err := d.Decode(&doc); errors.Is(err, io.EOF) {
			return found, nil
		} else if err != nil {
			return nil, syntaxError(data, err)
		}
		found = append(found, configMapsIn(doc.Content[0])...)
	}
}

func configMapsIn(object *yaml.Node) (found []configMap) {
	switch kind := child(object, "kind"); {
	case kind == nil:
		return nil
	case strings.HasSuffix(kind.Value, "List"):
		if items := child(object, "items"); items != nil {
			for _, item := range items.Content {
				found = append(found, configMapsIn(item)...)
			}
		}
		return found
	case kind.Value == "ConfigMap":
		meta := child(object, "metadata")
		return []configMap{{child(meta, "name"), child(meta, "namespace"), child(child(object, "data"), ConfigMapKey)}}
	default:
		return nil
	}
}

// child is the value of a key of a mapping, or nil.
func child(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// choose takes Herald's ConfigMap: that of its name, or else the only one with
// its key.
func choose(maps []configMap) (configMap, error) {
	var named, keyed []configMap
	for _, m := range maps {
		if m.config == nil {
			continue
		}
		keyed = append(keyed, m)
		if m.named() {
			named = append(named, m)
		}
	}
	switch {
	case len(named) == 1:
		return named[0], nil
	case len(keyed) == 1:
		return keyed[0], nil
	case len(keyed) == 0:
		return configMap{}, errors.New("a ConfigMap without the key " + ConfigMapKey + " in its data")
	}
	return configMap{}, fmt.Errorf("%d ConfigMaps with the key %s; leave one, or name one %s", len(keyed), ConfigMapKey, ConfigMapName)
}

func (m configMap) examine() (*Config, Problems, error) {
	if m.config.Kind != yaml.ScalarNode || m.config.ShortTag() != "!!str" {
		return nil, nil, Problems{{m.path(), kindOf(m.config) + `; write text, after a "|"`, m.config.Line}}
	}
	c, warnings, err := Examine([]byte(m.config.Value))
	var ps Problems
	if errors.As(err, &ps) {
		return nil, nil, m.relocate(ps)
	}
	return c, m.relocate(warnings), err
}

func (m configMap) path() string { return `data["` + ConfigMapKey + `"]` }

// relocate makes problems of the text problems of the manifest.
func (m configMap) relocate(ps Problems) Problems {
	var moved Problems
	for _, p := range ps {
		switch {
		case m.config.Style&yaml.LiteralStyle == 0:
			p.Line = 0 // quoted or folded: its lines are not those of the file
		case p.Line > 0:
			p.Line += m.config.Line
		}
		p.Path = strings.TrimSuffix(m.path()+": "+p.Path, ": ")
		moved = append(moved, p)
	}
	return moved
}
