//! Which known name was meant, where one was typed that is unknown.

/// As clap does for its own: Jaro's similarity, from 0 to 1.
const SIMILARITY_MIN: f64 = 0.7;

pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let similar = known.iter().map(|one| (strsim::jaro(name, one), *one));
    let similar = similar.filter(|(similarity, _)| *similarity > SIMILARITY_MIN);
    let best = similar.max_by(|one, other| one.0.total_cmp(&other.0));
    best.map(|(_, name)| name)
}
