//! Git's conflict markers.

use super::Sides;

/// The whole of both texts, for files that cannot be understood.
pub(super) fn around_all(sides: &Sides<'_>) -> String {
    let mut text = String::new();
    write(&mut text, sides, sides.ours, sides.theirs);
    text
}

/// Our text with markers where an alternative differs from it: each alternative is our text with
/// one conflict resolved their way.
pub(super) fn between(ours: &str, alternatives: &[String], sides: &Sides<'_>) -> String {
    let lines: Vec<&str> = ours.split_inclusive('\n').collect();
    let mut places: Vec<Difference> = alternatives.iter().map(|theirs| Difference::of(&lines, theirs)).collect();
    places.sort_by_key(|place| (place.start, place.end));
    if places.windows(2).any(|pair| pair[0].end > pair[1].start) {
        // Two changes of the same lines: shown as what they are only as a whole.
        return around_all(sides);
    }
    let mut text = String::new();
    let mut written = 0;
    for place in places {
        text.extend(lines[written..place.start].iter().copied());
        write(&mut text, sides, &lines[place.start..place.end].concat(), &place.theirs);
        written = place.end;
    }
    text.extend(lines[written..].iter().copied());
    text
}

/// Lines `start..end` of our text, and what stands there in theirs.
struct Difference {
    start: usize,
    end: usize,
    theirs: String,
}

impl Difference {
    fn of(ours: &[&str], theirs: &str) -> Self {
        let theirs: Vec<&str> = theirs.split_inclusive('\n').collect();
        let start = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
        let alike = ours[start..].iter().rev().zip(theirs[start..].iter().rev()).take_while(|(a, b)| a == b).count();
        Self { start, end: ours.len() - alike, theirs: theirs[start..theirs.len() - alike].concat() }
    }
}

fn write(text: &mut String, sides: &Sides<'_>, ours: &str, theirs: &str) {
    let marker = |sign: &str| sign.repeat(sides.marker_size);
    for (part, line) in
        [("", format!("{} ours", marker("<"))), (ours, marker("=")), (theirs, format!("{} theirs", marker(">")))]
    {
        text.push_str(part);
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&line);
        text.push('\n');
    }
}
