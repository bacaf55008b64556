package sandbox

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// richText shows a rich_text block.
func (r *renderer) richText(b kitObject) {
	for _, e := range renderObjects(b["elements"]) {
		switch e["type"] {
		case "rich_text_preformatted":
			for _, l := range strings.Split(strings.Trim(r.pieces(e), "\n"), "\n") {
				r.line(renderIndent + l)
			}
		case "rich_text_quote":
			for _, l := range strings.Split(r.pieces(e), "\n") {
				r.paragraphs("> ", l)
			}
		case "rich_text_list":
			r.richList(e)
		default:
			r.paragraphs("", r.pieces(e))
		}
	}
}

// richList shows the items of a list, numbered from its offset if ordered.
func (r *renderer) richList(e kitObject) {
	indent, _ := e["indent"].(float64)
	offset, _ := e["offset"].(float64)
	margin := strings.Repeat("  ", int(min(max(indent, 0), 8)))
	for i, item := range renderObjects(e["elements"]) {
		bullet := "- "
		if e["style"] == "ordered" {
			bullet = strconv.Itoa(int(min(max(offset, 0), 1e6))+i+1) + ". "
		}
		r.paragraphs(margin+bullet, r.pieces(item))
	}
}

// pieces shows the elements of a section, quote or preformatted text.
func (r *renderer) pieces(e kitObject) string {
	var out strings.Builder
	for _, p := range renderObjects(e["elements"]) {
		out.WriteString(r.piece(p))
	}
	return out.String()
}

func (r *renderer) piece(p kitObject) string {
	field := func(name string) string {
		s, _ := p[name].(string)
		return renderClean(s)
	}
	style, _ := p["style"].(kitObject)
	switch p["type"] {
	case "text":
		switch {
		case style["code"] == true && !r.Color:
			return "`" + field("text") + "`"
		case style["code"] == true:
			return r.style("36", field("text"))
		case style["bold"] == true && !r.Color:
			return "*" + field("text") + "*"
		case style["bold"] == true:
			return r.bold(field("text"))
		}
		return field("text")
	case "link":
		if text := field("text"); text != "" && text != field("url") {
			return text + " <" + r.url(field("url")) + ">"
		}
		return r.url(field("url"))
	case "user":
		return "@" + r.name(field("user_id"), "", r.User)
	case "channel":
		return "#" + r.name(field("channel_id"), "", r.Channel)
	case "usergroup":
		return "@" + r.name(field("usergroup_id"), "", r.Group)
	case "team":
		return field("team_id")
	case "emoji":
		return ":" + field("name") + ":"
	case "broadcast":
		return "@" + field("range")
	case "color":
		return field("value")
	case "date":
		stamp, _ := p["timestamp"].(float64)
		return r.date([]string{strconv.FormatFloat(stamp, 'f', 0, 64), field("format")}, field("fallback"))
	}
	return ""
}

// renderMaxStamp bounds the seconds shown as a date: the end of the year 9999.
const renderMaxStamp = 253402300799

// date shows a Slack date: a Unix time in seconds, a format with tokens, and
// maybe a link. The fallback stands in when they make no sense.
func (r *renderer) date(parts []string, fallback string) string {
	if len(parts) < 2 {
		return fallback
	}
	seconds, err := strconv.ParseInt(parts[0], 10, 64)
	if err != nil || seconds < 0 || seconds > renderMaxStamp {
		return fallback
	}
	at := time.Unix(seconds, 0).In(r.Location)
	text := strings.NewReplacer(
		"{date_num}", at.Format("2006-01-02"),
		"{date}", r.day(at, at.Format("January ")+renderOrdinal(at.Day())),
		"{date_short}", r.day(at, at.Format("Jan 2")),
		"{date_long}", r.day(at, at.Format("Monday, January ")+renderOrdinal(at.Day())),
		"{date_pretty}", r.near(at, at.Format("January ")+renderOrdinal(at.Day())),
		"{date_short_pretty}", r.near(at, at.Format("Jan 2")),
		"{date_long_pretty}", r.near(at, at.Format("Monday, January ")+renderOrdinal(at.Day())),
		"{time}", at.Format("3:04 PM"),
		"{time_secs}", at.Format("3:04:05 PM"),
		"{ago}", r.ago(at),
	).Replace(parts[1])
	if strings.ContainsAny(text, "{}") {
		return fallback
	}
	if len(parts) > 2 {
		text += " <" + r.url(parts[2]) + ">"
	}
	return text
}

// day adds the year to a date that is six months away or more.
func (r *renderer) day(at time.Time, text string) string {
	if !r.Now.IsZero() && at.After(r.Now.AddDate(0, -6, 0)) && at.Before(r.Now.AddDate(0, 6, 0)) {
		return text
	}
	return text + at.Format(", 2006")
}

// near names a date that is a day away or less.
func (r *renderer) near(at time.Time, text string) string {
	now := r.Now.In(r.Location)
	for offset, name := range map[int]string{-1: "yesterday", 0: "today", 1: "tomorrow"} {
		if !r.Now.IsZero() && at.Format(time.DateOnly) == now.AddDate(0, 0, offset).Format(time.DateOnly) {
			return name
		}
	}
	return r.day(at, text)
}

// ago tells how far away a moment is, in its largest unit.
func (r *renderer) ago(at time.Time) string {
	if r.Now.IsZero() {
		return at.Format("2006-01-02 15:04")
	}
	seconds := at.Unix() - r.Now.Unix()
	n, form := seconds, "in %s"
	if seconds <= 0 {
		n, form = -seconds, "%s ago"
	}
	unit := "second"
	for _, u := range []struct {
		name    string
		seconds int64
	}{{"day", 86400}, {"hour", 3600}, {"minute", 60}} {
		if n >= u.seconds {
			n, unit = n/u.seconds, u.name
			break
		}
	}
	plural := "s"
	if n == 1 {
		plural = ""
	}
	return fmt.Sprintf(form, fmt.Sprintf("%d %s%s", n, unit, plural))
}

// renderOrdinal writes a day of the month as 1st, 2nd, 3rd, 4th.
func renderOrdinal(day int) string {
	suffix := map[int]string{1: "st", 2: "nd", 3: "rd"}[day%10]
	if day/10 == 1 {
		suffix = ""
	}
	return strconv.Itoa(day) + cmp.Or(suffix, "th")
}
