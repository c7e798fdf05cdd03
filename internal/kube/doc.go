// Package kube is Herald's door to the Kubernetes API, and the only importer of
// client-go. Reads come in as a cluster.Snapshot; writes go out by server-side
// apply; nobody else sees a Kubernetes type.
//
// It uses client-go's reflectors without its informers: a reflector stores what
// it hears straight into a table of our own values, so that the raw objects,
// managedFields and all, are never kept, and there is no queue between an event
// and the Snapshot that shows it.
package kube
