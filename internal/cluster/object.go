package cluster

// ConfigMap is a ConfigMap of Herald's own.
type ConfigMap struct {
	Namespace, Name string
	UID             string
	Version         string            // metadata.resourceVersion, to be quoted, not compared
	Annotations     map[string]string // only those under AnnotationPrefix
	Data            map[string]string
	Binary          []string // keys of what is not UTF-8, sorted
}

// Ref names an object, for Events about it.
type Ref struct {
	Kind            string // Service, ConfigMap or Node
	Namespace, Name string
	UID             string
}

// Ref names the Service.
func (s Service) Ref() Ref {
	return Ref{Kind: "Service", Namespace: s.Namespace, Name: s.Name, UID: s.UID}
}

// Ref names the ConfigMap.
func (c ConfigMap) Ref() Ref {
	return Ref{Kind: "ConfigMap", Namespace: c.Namespace, Name: c.Name, UID: c.UID}
}
