//! A graph as text: boxes in layers, joined by lines of `*`.

use std::collections::{BTreeMap, HashMap};

use super::Needs;

/// Rows between two layers, for the lines.
const BETWEEN: usize = 3;
/// Rows of a box.
const BOX: usize = 3;
/// Columns between two boxes.
const GAP: usize = 2;

/// A box, or a bend of a line that passes its layer.
struct Place {
    /// `None` for a bend.
    name: Option<String>,
    layer: usize,
    /// Of its middle.
    column: usize,
}

impl Place {
    fn width(&self) -> usize {
        self.name.as_ref().map_or(1, |name| name.chars().count() + 4)
    }
}

pub(super) fn draw(graph: &Needs) -> String {
    let layers = layers(graph);
    let mut places: Vec<Place> = Vec::new();
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    for (name, layer) in &layers {
        numbers.insert(name, places.len());
        places.push(Place { name: Some((*name).to_owned()), layer: *layer, column: 0 });
    }
    // From one layer to the next: long ones bend in each layer between.
    let mut lines: Vec<(usize, usize)> = Vec::new();
    for (name, needs) in graph {
        for need in needs.iter().filter_map(|need| numbers.get(need.as_str())) {
            let to = numbers[name.as_str()];
            let mut above = *need;
            for layer in places[above].layer + 1..places[to].layer {
                places.push(Place { name: None, layer, column: 0 });
                lines.push((above, places.len() - 1));
                above = places.len() - 1;
            }
            lines.push((above, to));
        }
    }
    let rows = arranged(&mut places, &lines);
    paint(&places, &lines, rows)
}

/// How many steps each name is from one that needs nothing.
fn layers(graph: &Needs) -> BTreeMap<&str, usize> {
    let mut layers: BTreeMap<&str, usize> = graph.keys().map(|name| (name.as_str(), 0)).collect();
    // As many rounds as the longest chain is long; a graph of stages has no circles.
    for _ in 0..graph.len() {
        let mut moved = false;
        for (name, needs) in graph {
            let below = needs.iter().filter_map(|need| layers.get(need.as_str())).max().map_or(0, |layer| layer + 1);
            if layers[name.as_str()] < below {
                layers.insert(name, below);
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    layers
}

/// Orders each layer by the middle of what it hangs on, and gives everything its column. The number of
/// layers.
fn arranged(places: &mut [Place], lines: &[(usize, usize)]) -> usize {
    let count = places.iter().map(|place| place.layer + 1).max().unwrap_or(0);
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (at, place) in places.iter().enumerate() {
        rows[place.layer].push(at);
    }
    for row in &mut rows {
        let middle = |at: usize| {
            let above: Vec<usize> =
                lines.iter().filter(|line| line.1 == at).map(|line| places[line.0].column).collect();
            if above.is_empty() { 0.0 } else { above.iter().sum::<usize>() as f64 / above.len() as f64 }
        };
        let middles: HashMap<usize, f64> = row.iter().map(|&at| (at, middle(at))).collect();
        row.sort_by(|a, b| middles[a].total_cmp(&middles[b]).then(a.cmp(b)));
        let mut column = 0;
        for &at in row.iter() {
            let half = places[at].width() / 2;
            let wanted = middles[&at] as usize;
            places[at].column = (column + half).max(wanted);
            column = places[at].column + places[at].width() - half + GAP;
        }
    }
    // Upwards once more, so that what is above the middle of several comes to stand there.
    for row in rows.iter().rev() {
        let mut right = usize::MAX;
        for &at in row.iter().rev() {
            let below: Vec<usize> =
                lines.iter().filter(|line| line.0 == at).map(|line| places[line.1].column).collect();
            let half = places[at].width() / 2;
            if !below.is_empty() {
                let wanted = below.iter().sum::<usize>() / below.len();
                let room = right.saturating_sub(places[at].width() - half);
                if wanted > places[at].column {
                    places[at].column = wanted.min(room).max(places[at].column);
                }
            }
            right = places[at].column.saturating_sub(half + GAP);
        }
    }
    count
}

fn paint(places: &[Place], lines: &[(usize, usize)], layers: usize) -> String {
    let width = places.iter().map(|place| place.column + place.width() + 1).max().unwrap_or(0);
    let mut canvas = vec![vec![' '; width]; (layers * (BOX + BETWEEN)).saturating_sub(BETWEEN)];
    let top = |place: &Place| place.layer * (BOX + BETWEEN);
    for &(from, to) in lines {
        let (from, to) = (&places[from], &places[to]);
        let (first, last) = (top(from) + BOX / 2, top(to) + BOX / 2);
        for (below, row) in canvas[first..=last].iter_mut().enumerate() {
            let share = below as f64 / (last - first) as f64;
            let column = from.column as f64 + share * (to.column as f64 - from.column as f64);
            row[column.round() as usize] = '*';
        }
    }
    for place in places {
        let Some(name) = &place.name else { continue };
        let (left, row) = (place.column - place.width() / 2, top(place));
        let edge = format!("+{}+", "-".repeat(place.width() - 2));
        for (offset, text) in [edge.clone(), format!("| {name} |"), edge].into_iter().enumerate() {
            for (at, c) in text.chars().enumerate() {
                canvas[row + offset][left + at] = c;
            }
        }
    }
    let rows: Vec<String> =
        canvas.into_iter().map(|row| row.into_iter().collect::<String>().trim_end().to_owned()).collect();
    rows.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(stages: &[(&str, &[&str])]) -> Needs {
        let needs = |needs: &[&str]| needs.iter().map(|need| (*need).to_owned()).collect();
        stages.iter().map(|(name, all)| ((*name).to_owned(), needs(all))).collect()
    }

    #[test]
    fn boxes_stand_below_what_they_need() {
        let text = draw(&graph(&[("a", &[]), ("bb", &["a"])]));
        assert_eq!(text, " +---+\n | a |\n +---+\n   *\n   *\n   *\n+----+\n| bb |\n+----+\n");
    }

    #[test]
    fn every_name_and_no_overlap_is_drawn() {
        let text = draw(&graph(&[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["b", "c", "a"]), ("e", &["d"])]));
        for name in ["| a |", "| b |", "| c |", "| d |", "| e |"] {
            assert_eq!(text.matches(name).count(), 1, "{text}");
        }
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows.len(), 4 * (BOX + BETWEEN) - BETWEEN, "{text}");
    }
}
