package l2

// responder answers the frames of one protocol on one link, from whatever table
// the link has at that moment.
type responder struct {
	link   *link
	family *family
	answer func(t *table, frame, buf []byte) verdict
	buf    [128]byte // where replies are made
}

// handle returns the reply to a frame; nil: none.
func (r *responder) handle(frame []byte) []byte {
	r.family.frames.Add(1)
	t := r.link.table.Load()
	v := r.answer(t, frame, r.buf[:0])
	if v.malformed {
		r.family.malformed.Add(1)
		return nil
	}
	if v.hasRival() {
		r.family.foreign.Add(1)
		r.link.sighted(sighting{r.link.name, v.addr, v.rival})
	}
	if v.request {
		r.family.requests.Add(1)
		if mac(frame[offDst:]) == t.mac {
			r.family.unicast.Add(1)
		}
	}
	return v.reply
}

// replied counts a reply.
func (r *responder) replied(err error) {
	if err != nil {
		r.family.unsent.Add(1)
		return
	}
	r.family.answers.Add(1)
}
