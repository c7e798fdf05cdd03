package allocator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/heraldlb/herald/allocator/assign"
	"github.com/heraldlb/herald/internal/cluster"
	"github.com/heraldlb/herald/internal/config"
)

// How the configuration is kept in a ConfigMap.
const (
	// ConfigKey is the key of the document in both ConfigMaps.
	ConfigKey = config.ConfigMapKey

	// AnnotationHash is the hash of the accepted configuration.
	AnnotationHash = cluster.AnnotationPrefix + "config-hash"

	// AnnotationSource is the resourceVersion of the ConfigMap that was accepted.
	AnnotationSource = cluster.AnnotationPrefix + "source-resource-version"
)

// Types and reasons of Events about the configuration.
const (
	normal  = "Normal"
	warning = "Warning"

	configAccepted = "ConfigurationAccepted"
	configBroken   = "ConfigurationBroken"
	configStuck    = "ConfigurationNotPublished"
)

// republish is how often the accepted configuration is written without need, in
// case somebody has changed or deleted it. It costs nothing if nobody has.
const republish = time.Minute

// The judge decides which configuration is in force. It is the only one to do
// so: speakers read what it publishes, so that a typo never splits the fleet. A
// configuration is in force once it is published, so that the next leader knows
// of everything that addresses were given out by.
type judge struct {
	Options
	config *config.Config // in force; nil: none yet
	hash   string         // of config
	source string         // version of the ConfigMap that config is from

	seen     string // version of the ConfigMap that was judged last; empty: there was none
	looked   bool   // look has come to a judgement
	problems config.Problems
	warnings config.Problems // of a configuration without problems

	user  *config.Config // the newest, if it is valid; config and next are it, and what is kept beside it
	kept  []assign.Kept
	news  bool   // there is something to say as soon as next is in force
	stuck string // why next is not in force; empty: it is, or it will be soon

	next       *config.Config // to be published, or published again; nil: none
	nextSource string         // version of the ConfigMap that next is from
	about      cluster.Ref    // that ConfigMap
	attempts   int
	retry      time.Time
}

func newJudge(o Options) *judge { return &judge{Options: o} }

// restore reads the configuration that was in force before.
func (j *judge) restore(ctx context.Context) error {
	cm, ok, err := j.ConfigMaps.ReadConfigMap(ctx, j.Accepted)
	if err != nil {
		return err
	}
	if !ok {
		j.Log.Info("no accepted configuration yet", "configmap", j.ref(j.Accepted))
		return nil
	}
	c, err := config.Parse([]byte(cm.Data[ConfigKey]))
	if err != nil {
		// written by another version of Herald, or by hand: not worth stopping for
		j.Log.Error("accepted configuration cannot be read", "configmap", j.ref(j.Accepted), "err", err)
		return nil
	}
	j.config, j.hash, j.source = c, c.Hash(), cm.Annotations[AnnotationSource]
	j.Log.Info("last accepted configuration read", "hash", j.hash, "source_version", j.source)
	return nil
}

// look judges the user's ConfigMap if it has changed, and returns when to look
// again although nothing changes. services are as they will be if what is being
// written succeeds, shown as they were last seen.
func (j *judge) look(ctx context.Context, services, shown []cluster.Service, nodes []cluster.Node) time.Time {
	cm, ok := j.Source.ConfigMap()
	switch {
	case !j.looked || cm.Version != j.seen:
		j.seen = cm.Version
		j.examine(cm, ok, cluster.Snapshot{Services: services, Nodes: nodes}, shown)
		j.looked = true
	case len(j.kept) > 0 && j.user != nil:
		j.forget(services, shown)
	}
	if j.next != nil && !time.Now().Before(j.retry) {
		j.enforce(ctx)
	}
	j.Metrics.judged(j.faults(), j.warnings)
	return j.retry
}

// faults is why the newest configuration is not in force.
func (j *judge) faults() config.Problems {
	if j.stuck != "" {
		return append(slices.Clone(j.problems), config.Problem{Message: j.stuck})
	}
	return j.problems
}

// examine finds out whether the ConfigMap holds a valid configuration.
func (j *judge) examine(cm cluster.ConfigMap, exists bool, snap cluster.Snapshot, shown []cluster.Service) {
	c, warnings, problems := j.read(cm, exists)
	if c != nil {
		faults, more := assign.Clashes(c, j.config, snap)
		problems, warnings = faults, append(more, warnings...)
	}
	j.user, j.kept = nil, nil
	if c != nil && len(problems) == 0 {
		j.user = c
		c, j.kept = j.retire(snap.Services, shown)
		warnings = append(assign.WarnOfKept(j.kept), warnings...)
	}
	// Who leads anew repeats nothing that the one before has said.
	j.news = j.news || len(j.problems) > 0 || j.stuck != "" || j.looked && !slices.Equal(j.warnings, warnings)
	j.problems, j.warnings, j.stuck = problems, warnings, ""
	j.attempts, j.retry = 0, time.Time{}
	if len(problems) == 0 {
		j.next, j.nextSource, j.about = c, cm.Version, cm.Ref()
		j.news = j.news || c.Hash() != j.hash
		return
	}
	j.next, j.nextSource, j.news = j.config, j.source, false
	j.Log.Error("configuration is broken; the last good one stays in force", "configmap", j.ref(j.ConfigMap),
		"problems", note("", problems), "hash_in_force", j.hash)
	if exists {
		j.Events.Event(cm.Ref(), warning, configBroken, note("", problems))
	}
}

// retire keeps what is in use: by what is shown, since a write that would leave an
// address may fail, and by what is being written.
func (j *judge) retire(services, shown []cluster.Service) (*config.Config, []assign.Kept) {
	return assign.Retire(j.user, j.config, slices.Concat(services, shown))
}

// forget stops to keep what nobody has any more.
func (j *judge) forget(services, shown []cluster.Service) {
	c, still := j.retire(services, shown)
	if slices.Equal(still, j.kept) {
		return
	}
	j.warnings = append(assign.WarnOfKept(still), j.warnings[1:]...)
	j.kept, j.next, j.attempts, j.retry = still, c, 0, time.Time{}
}

// accept says that a configuration is valid, and what to think of it.
func (j *judge) accept(hash string) {
	kind, text := normal, "configuration "+hash+" is valid"
	if len(j.warnings) > 0 {
		kind, text = warning, note(text+", but:", j.warnings)
		j.Log.Warn("configuration hardly does what was meant", "warnings", note("", j.warnings))
	}
	j.Events.Event(j.about, kind, configAccepted, text)
}

func (j *judge) read(cm cluster.ConfigMap, exists bool) (c *config.Config, warnings, problems config.Problems) {
	if !exists {
		return nil, nil, config.Problems{{Message: "ConfigMap " + j.ref(j.ConfigMap) + " does not exist"}}
	}
	text, ok := cm.Data[ConfigKey]
	switch {
	case !ok && slices.Contains(cm.Binary, ConfigKey):
		return nil, nil, config.Problems{{Message: "ConfigMap " + j.ref(j.ConfigMap) + " has the key " + ConfigKey +
			" under binaryData, so the file is not UTF-8; save it as UTF-8 and apply it again"}}
	case !ok:
		return nil, nil, config.Problems{{Message: "ConfigMap " + j.ref(j.ConfigMap) + " has no key " + ConfigKey}}
	}
	c, warnings, err := config.Examine([]byte(text))
	if err == nil {
		c.Scope = j.overrule(c.Scope)
		return c, warnings, nil
	}
	if problems, ok := errors.AsType[config.Problems](err); ok {
		return nil, nil, problems
	}
	return nil, nil, config.Problems{{Message: err.Error()}}
}

// overrule makes of a configuration's scope what the allocator was started with.
func (j *judge) overrule(s config.Scope) config.Scope {
	if j.ServiceClass != "" {
		s = s.SetClass(j.ServiceClass)
	}
	if j.Classless != "" {
		s.SkipClassless = j.Classless == config.ClasslessIgnore
	}
	return s
}

// scope says which Services are Herald's now.
func (j *judge) scope() config.Scope {
	if j.config == nil {
		return j.overrule(config.Scope{})
	}
	return j.config.Scope
}

// enforce publishes the next configuration, and with that puts it in force.
func (j *judge) enforce(ctx context.Context) {
	c, hash := j.next, j.next.Hash()
	err := j.ConfigMaps.PublishConfigMap(ctx, j.Accepted,
		map[string]string{AnnotationHash: hash, AnnotationSource: j.nextSource},
		map[string]string{ConfigKey: string(c.YAML())})
	if err != nil {
		if ctx.Err() == nil {
			j.unpublished(err)
		}
		return
	}
	j.attempts, j.stuck, j.retry = 0, "", time.Now().Add(republish)
	if j.hash != hash || j.source != j.nextSource {
		j.Log.Info("configuration is in force", "hash", hash, "source_version", j.nextSource)
	}
	j.config, j.hash, j.source = c, hash, j.nextSource
	if j.news {
		j.news = false
		j.accept(hash)
	}
}

// unpublished says that a configuration could not be published, and when that is
// tried again. Who has no right to, or is told no, will hardly succeed in a second.
func (j *judge) unpublished(err error) {
	refused := errors.Is(err, cluster.ErrRefused)
	if j.attempts == 0 {
		j.Log.Warn("configuration not published, and so not in force yet", "err", err)
	}
	if j.next.Hash() != j.hash {
		j.stuck = fmt.Sprintf("the configuration is valid, but not in force, since it could not be published: %s; "+
			"find out who forbids the allocator to write the ConfigMap %s", cluster.Cut(err.Error(), 500), j.ref(j.Accepted))
		if first := map[bool]int{true: 0, false: 3}[refused]; j.attempts >= first && (j.attempts-first)%60 == 0 {
			j.Events.Event(j.about, warning, configStuck, note("", j.faults()))
		}
	}
	most := time.Second
	if refused {
		most = retryRefused
	}
	j.retry = time.Now().Add(backoff(j.attempts, most))
	j.attempts++
}

// explain adds to Services that wait that the configuration which may be meant
// to help them is broken.
func (j *judge) explain(all []assign.Assignment) []assign.Assignment {
	text := ""
	switch {
	case len(j.problems) > 0:
		text = "; the newest configuration is broken and not in force: " + summary(j.problems)
	case j.stuck != "":
		text = "; " + j.stuck
	default:
		return all
	}
	for i := range all {
		if a := &all[i]; !a.Allocated && !leaves(*a) {
			a.Message += text
		}
	}
	return all
}

func (j *judge) ref(name string) string { return j.Namespace + "/" + name }

// summary fits into the message of a condition.
func summary(ps config.Problems) string {
	if len(ps) == 1 {
		return ps[0].String()
	}
	return fmt.Sprintf("%s (and %d more problems)", ps[0], len(ps)-1)
}

// note fits into an Event, which has room for a kilobyte.
func note(head string, ps config.Problems) string {
	const room = 900
	text := head
	for i, p := range ps {
		line := p.String()
		if text != "" {
			line = "\n" + line
		}
		if len(text)+len(line) > room && i > 0 {
			return fmt.Sprintf("%s\nand %d more; `heraldctl check` shows all", text, len(ps)-i)
		}
		text += line
	}
	return text
}
