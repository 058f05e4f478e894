//! Filters: comparisons joined by AND, as MLflow's search syntax has them, and beyond it OR,
//! parentheses, and IN for every field. A filter of MLflow's means the same here.

use super::tokens::{self, Token};
use crate::TrackingError;

/// What an identifier is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Entity {
    Metric,
    Parameter,
    Tag,
    Attribute,
    Dataset,
    /// Of traces.
    Metadata,
    Span,
    Feedback,
    Expectation,
}

impl Entity {
    fn word(self) -> &'static str {
        match self {
            Self::Metric => "metric",
            Self::Parameter => "parameter",
            Self::Tag => "tag",
            Self::Attribute => "attribute",
            Self::Dataset => "dataset",
            Self::Metadata => "metadata",
            Self::Span => "span",
            Self::Feedback => "feedback",
            Self::Expectation => "expectation",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "metric" | "metrics" => Self::Metric,
            "param" | "params" | "parameter" | "parameters" => Self::Parameter,
            "tag" | "tags" => Self::Tag,
            "attribute" | "attributes" | "attr" | "run" => Self::Attribute,
            "dataset" | "datasets" => Self::Dataset,
            "metadata" | "request_metadata" => Self::Metadata,
            "span" => Self::Span,
            "feedback" => Self::Feedback,
            "expectation" => Self::Expectation,
            _ => return None,
        })
    }
}

/// What is compared or ordered by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Field {
    pub entity: Entity,
    /// Of an attribute, its canonical name.
    pub key: String,
    /// Compared as a number.
    pub numeric: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// One comparison.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    Number(Comparator, f64),
    Equal(String),
    NotEqual(String),
    Like(String),
    /// LIKE without regard to case.
    ILike(String),
    In(Vec<String>),
    NotIn(Vec<String>),
    NumberIn(Vec<f64>),
    NumberNotIn(Vec<f64>),
    IsNull,
    IsNotNull,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Clause {
    pub field: Field,
    pub test: Test,
}

/// A whole filter. One of MLflow's has no `any`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// All of these hold.
    pub all: Vec<Clause>,
    /// Of each of these, one or more hold.
    pub any: Vec<Vec<Filter>>,
}

impl Filter {
    /// Every clause at every depth: what a search needs to read.
    pub fn clauses(&self) -> Vec<&Clause> {
        let mut found: Vec<&Clause> = self.all.iter().collect();
        for alternative in self.any.iter().flatten() {
            found.extend(alternative.clauses());
        }
        found
    }

    fn and(&mut self, mut other: Filter) {
        self.all.append(&mut other.all);
        self.any.append(&mut other.any);
    }
}

/// The vocabulary of one search.
pub struct Grammar {
    pub entities: &'static [Entity],
    pub text: &'static [&'static str],
    pub numeric: &'static [&'static str],
    /// Other names of attributes, with the canonical ones.
    pub synonyms: &'static [(&'static str, &'static str)],
    /// Attributes that can be ordered by but not filtered.
    pub order_only: &'static [&'static str],
}

impl Grammar {
    /// Reads `entity.key` or a bare attribute.
    pub(super) fn field(&self, identifier: &str, ordering: bool) -> Result<Field, TrackingError> {
        let (entity, key) = match split_entity(identifier) {
            Some((word, key)) => {
                let word = unquoted(word);
                // A trace calls its attributes its own.
                let of_trace = word == "trace" && self.entities.contains(&Entity::Span);
                let word = if of_trace { "attribute" } else { word };
                let entity = Entity::parse(word).filter(|e| self.entities.contains(e)).ok_or_else(|| {
                    let valid: Vec<String> = self.entities.iter().map(|e| format!("'{}'", e.word())).collect();
                    TrackingError::Filter(format!(
                        "Invalid entity type '{word}'. Valid values are [{}]",
                        valid.join(", ")
                    ))
                })?;
                (entity, key)
            }
            None => (Entity::Attribute, identifier),
        };
        let key = unquoted(key);
        match entity {
            Entity::Attribute => self.attribute(key, ordering),
            Entity::Dataset if !["name", "digest", "context"].contains(&key) => Err(TrackingError::Filter(format!(
                "Invalid dataset key '{key}' specified. Valid keys are '{{'name', 'digest', 'context'}}'"
            ))),
            _ => Ok(Field { entity, key: key.to_owned(), numeric: entity == Entity::Metric }),
        }
    }

    fn attribute(&self, key: &str, ordering: bool) -> Result<Field, TrackingError> {
        let canonical = self
            .synonyms
            .iter()
            // "run name" and its like are for filters only.
            .find(|(other, _)| *other == key && !(ordering && other.contains(' ')))
            .map_or(key, |(_, canonical)| canonical);
        let numeric = self.numeric.contains(&canonical);
        if numeric || self.text.contains(&canonical) || (ordering && self.order_only.contains(&canonical)) {
            return Ok(Field { entity: Entity::Attribute, key: canonical.to_owned(), numeric });
        }
        let valid: Vec<String> = self.text.iter().chain(self.numeric).map(|k| format!("'{k}'")).collect();
        Err(TrackingError::Filter(format!(
            "Invalid attribute key '{key}' specified. Valid keys are '{{{}}}'",
            valid.join(", ")
        )))
    }
}

/// Splits at the first dot outside quotes.
fn split_entity(identifier: &str) -> Option<(&str, &str)> {
    if identifier.starts_with(['`', '"']) {
        let quote = identifier.chars().next()?;
        let end = identifier[1..].find(quote)? + 2;
        let rest = identifier[end..].strip_prefix('.')?;
        return Some((&identifier[..end], rest));
    }
    identifier.split_once('.')
}

/// Without backticks, then without quotes.
fn unquoted(text: &str) -> &str {
    ['`', '"', '\''].into_iter().find_map(|q| text.strip_prefix(q)?.strip_suffix(q)).unwrap_or(text)
}

/// Parentheses in parentheses.
const DEEPEST: usize = 32;

/// Reads a filter; the empty one has no clause.
pub fn parse(filter: &str, grammar: &Grammar) -> Result<Filter, TrackingError> {
    let tokens = tokens::split(filter)?;
    if tokens.is_empty() {
        return Ok(Filter::default());
    }
    let (filter, rest) = alternatives(&tokens, grammar, 0)?;
    match rest {
        [] => Ok(filter),
        [other, ..] => Err(invalid(other)),
    }
}

fn invalid(token: &Token) -> TrackingError {
    TrackingError::Filter(format!("Invalid clause(s) in filter string: '{}'", token.text()))
}

/// Conjunctions joined by OR.
fn alternatives<'t>(
    tokens: &'t [Token],
    grammar: &Grammar,
    depth: usize,
) -> Result<(Filter, &'t [Token]), TrackingError> {
    let (first, mut rest) = conjunction(tokens, grammar, depth)?;
    let mut found = vec![first];
    while let [or, tail @ ..] = rest {
        if !or.is_word("or") {
            break;
        }
        let (next, after) = conjunction(tail, grammar, depth)?;
        found.push(next);
        rest = after;
    }
    let filter = match found.len() {
        1 => found.remove(0),
        _ => Filter { all: Vec::new(), any: vec![found] },
    };
    Ok((filter, rest))
}

/// Comparisons and parentheses joined by AND.
fn conjunction<'t>(
    tokens: &'t [Token],
    grammar: &Grammar,
    depth: usize,
) -> Result<(Filter, &'t [Token]), TrackingError> {
    let mut filter = Filter::default();
    let mut rest = tokens;
    loop {
        rest = if let [Token::Open, inside @ ..] = rest {
            if depth == DEEPEST {
                return Err(TrackingError::Filter(format!("at most {DEEPEST} parentheses inside each other")));
            }
            let (inner, after) = alternatives(inside, grammar, depth + 1)?;
            let [Token::Close, after @ ..] = after else {
                return Err(TrackingError::Filter("Invalid filter: a parenthesis is not closed.".into()));
            };
            filter.and(inner);
            after
        } else {
            let (clause, after) = comparison(rest, grammar)?;
            filter.all.push(clause);
            after
        };
        match rest {
            // A trailing AND is tolerated.
            [and] if and.is_word("and") => return Ok((filter, &[])),
            [and, tail @ ..] if and.is_word("and") => rest = tail,
            _ => return Ok((filter, rest)),
        }
    }
}

fn comparison<'t>(tokens: &'t [Token], grammar: &Grammar) -> Result<(Clause, &'t [Token]), TrackingError> {
    let unparsed = || {
        let text: Vec<String> = tokens.iter().take(4).map(Token::text).collect();
        TrackingError::Filter(format!("Invalid clause(s) in filter string: '{}'", text.join(" ")))
    };
    let [first, rest @ ..] = tokens else { return Err(unparsed()) };
    let identifier = match first {
        Token::Word(word) => word.as_str(),
        Token::Text(text) if text.starts_with('"') => text.as_str(),
        _ => return Err(unparsed()),
    };
    let keyword = |n: usize, word: &str| rest.get(n).is_some_and(|t| t.is_word(word));
    if keyword(0, "is") {
        let (test, taken) = if keyword(1, "null") {
            (Test::IsNull, 2)
        } else if keyword(1, "not") && keyword(2, "null") {
            (Test::IsNotNull, 3)
        } else {
            return Err(unparsed());
        };
        let field = grammar.field(identifier, false)?;
        let nullable = [Entity::Tag, Entity::Parameter, Entity::Metadata, Entity::Feedback, Entity::Expectation];
        if !nullable.contains(&field.entity) {
            return Err(TrackingError::Filter(format!(
                "IS NULL / IS NOT NULL is only supported for tags and params, not for '{}' '{}'",
                field.entity.word(),
                field.key
            )));
        }
        return Ok((Clause { field, test }, &rest[taken..]));
    }
    if keyword(0, "in") || (keyword(0, "not") && keyword(1, "in")) {
        let negative = keyword(0, "not");
        let field = grammar.field(identifier, false)?;
        let (values, after) = list(&rest[if negative { 2 } else { 1 }..]).ok_or_else(unparsed)?;
        let test = match (field.numeric, negative) {
            (true, negative) => {
                let numbers = values.iter().map(|value| finite(&field, value)).collect::<Result<_, _>>()?;
                if negative { Test::NumberNotIn(numbers) } else { Test::NumberIn(numbers) }
            }
            (false, true) => Test::NotIn(texts(&field, &values)?),
            (false, false) => Test::In(texts(&field, &values)?),
        };
        return Ok((Clause { field, test }, after));
    }
    let [operator, value, after @ ..] = rest else { return Err(unparsed()) };
    let operator = match operator {
        Token::Operator(operator) => operator.as_str(),
        word if word.is_word("like") => "LIKE",
        word if word.is_word("ilike") => "ILIKE",
        _ => return Err(unparsed()),
    };
    let field = grammar.field(identifier, false)?;
    let test = if field.numeric { number(&field, operator, value)? } else { text(&field, operator, value)? };
    Ok((Clause { field, test }, after))
}

fn number(field: &Field, operator: &str, value: &Token) -> Result<Test, TrackingError> {
    let comparator = match operator {
        "=" => Comparator::Equal,
        "!=" => Comparator::NotEqual,
        "<" => Comparator::Less,
        "<=" => Comparator::LessOrEqual,
        ">" => Comparator::Greater,
        ">=" => Comparator::GreaterOrEqual,
        _ => return Err(wrong_comparator(operator, "'=', '!=', '<', '<=', '>', '>='")),
    };
    Ok(Test::Number(comparator, finite(field, value)?))
}

fn finite(field: &Field, value: &Token) -> Result<f64, TrackingError> {
    let parsed = match value {
        Token::Number(text) => text.parse::<f64>().ok().filter(|v| v.is_finite()),
        _ => None,
    };
    parsed.ok_or_else(|| {
        let what = match field.entity {
            Entity::Metric => "metric".to_owned(),
            _ => format!("numeric attribute: {}", field.key),
        };
        TrackingError::Filter(format!("Expected numeric value type for {what}. Found {}", value.text()))
    })
}

fn quoted(field: &Field, value: &Token) -> Result<String, TrackingError> {
    match value {
        Token::Text(quoted) => Ok(inner(quoted)),
        other => Err(TrackingError::Filter(format!(
            "Expected a quoted string value for {} (e.g. 'my-value'). Got value {}",
            field.entity.word(),
            other.text()
        ))),
    }
}

fn texts(field: &Field, values: &[&Token]) -> Result<Vec<String>, TrackingError> {
    values.iter().map(|value| quoted(field, value)).collect()
}

fn text(field: &Field, operator: &str, value: &Token) -> Result<Test, TrackingError> {
    let value = quoted(field, value)?;
    Ok(match operator {
        "=" => Test::Equal(value),
        "!=" => Test::NotEqual(value),
        "LIKE" => Test::Like(value),
        "ILIKE" => Test::ILike(value),
        _ => return Err(wrong_comparator(operator, "'=', '!=', 'LIKE', 'ILIKE'")),
    })
}

fn wrong_comparator(found: &str, valid: &str) -> TrackingError {
    TrackingError::Filter(format!("Invalid comparator '{found}' not one of '{{{valid}}}'"))
}

/// Without the outer quotes; doubled quotes inside stay as they are.
fn inner(quoted: &str) -> String {
    let mut chars = quoted.chars();
    chars.next();
    chars.next_back();
    chars.collect()
}

/// `('a', 'b')` or `(1, 2)`
fn list(tokens: &[Token]) -> Option<(Vec<&Token>, &[Token])> {
    let [Token::Open, rest @ ..] = tokens else { return None };
    let mut rest = rest;
    let mut values = Vec::new();
    loop {
        let [value @ (Token::Text(_) | Token::Number(_)), separator, tail @ ..] = rest else { return None };
        values.push(value);
        rest = tail;
        match separator {
            Token::Close => return Some((values, rest)),
            // `('a',)` is a list of one.
            Token::Comma if matches!(rest.first(), Some(Token::Close)) => return Some((values, &rest[1..])),
            Token::Comma => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::runs::GRAMMAR;

    fn read(filter: &str) -> Vec<(Entity, String, Test)> {
        let filter = parse(filter, &GRAMMAR).unwrap();
        assert!(filter.any.is_empty());
        filter.all.into_iter().map(|c| (c.field.entity, c.field.key, c.test)).collect()
    }

    fn refused(filter: &str) -> String {
        parse(filter, &GRAMMAR).unwrap_err().to_string()
    }

    #[test]
    fn comparisons_are_joined_by_and() {
        assert_eq!(
            read("metrics.a.b > -0.5 AND params.lr = '0.1' and tags.`a b` != \"x\""),
            [
                (Entity::Metric, "a.b".into(), Test::Number(Comparator::Greater, -0.5)),
                (Entity::Parameter, "lr".into(), Test::Equal("0.1".into())),
                (Entity::Tag, "a b".into(), Test::NotEqual("x".into())),
            ]
        );
        assert_eq!(read(""), []);
        assert_eq!(read("status = 'FINISHED' AND ").len(), 1);
    }

    #[test]
    fn keys_with_spaces_or_slashes_are_quoted() {
        assert_eq!(read("metrics.`a/b` >= 1e-3")[0].1, "a/b");
        assert_eq!(read("metrics.\"a b\" < 1")[0].1, "a b");
        assert_eq!(read("attributes.run_name LIKE 'x%'")[0].1, "run_name");
        assert_eq!(read("`run name` ilike 'x%'")[0].1, "run_name");
        assert_eq!(read("created < 5")[0].1, "start_time");
    }

    #[test]
    fn quotes_inside_a_value_stay() {
        assert_eq!(read("params.a = 'it''s'")[0].2, Test::Equal("it''s".into()));
    }

    #[test]
    fn lists_and_nulls() {
        assert_eq!(
            read("run_id NOT IN ('a', 'b') AND tags.x IS NOT NULL AND params.y is null"),
            [
                (Entity::Attribute, "run_id".into(), Test::NotIn(vec!["a".into(), "b".into()])),
                (Entity::Tag, "x".into(), Test::IsNotNull),
                (Entity::Parameter, "y".into(), Test::IsNull),
            ]
        );
    }

    #[test]
    fn alternatives_and_parentheses_go_beyond_mlflow() {
        let filter =
            parse("tags.a = '1' AND (params.p IN ('x') OR metrics.m IN (1, 2) AND status = 'x')", &GRAMMAR).unwrap();
        assert_eq!(filter.all.len(), 1);
        let [alternatives] = filter.any.as_slice() else { panic!("{filter:?}") };
        assert_eq!(alternatives.iter().map(|f| f.all.len()).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(alternatives[1].all[0].test, Test::NumberIn(vec![1.0, 2.0]));
        assert_eq!(filter.clauses().len(), 4);
        assert_eq!(read("((status = 'x')) AND (tags.a = 'b')").len(), 2, "parentheses alone change nothing");
        let deep = format!("{}status = 'x'{}", "(".repeat(40), ")".repeat(40));
        assert!(refused(&deep).contains("at most 32"));
    }

    #[test]
    fn what_is_not_a_filter_says_why() {
        assert_eq!(refused("metrics.a > 1 XOR metrics.b > 1"), "Invalid clause(s) in filter string: 'XOR'");
        assert_eq!(
            refused("foo.a = 'x'"),
            "Invalid entity type 'foo'. Valid values are ['metric', 'parameter', 'tag', 'attribute', 'dataset']"
        );
        assert!(refused("x = 'y'").starts_with("Invalid attribute key 'x' specified. Valid keys are"));
        assert_eq!(refused("metrics.a > nan"), "Expected numeric value type for metric. Found nan");
        assert_eq!(refused("metrics.a > '1'"), "Expected numeric value type for metric. Found '1'");
        for bad in [
            "(metrics.a > 1",
            "metrics.a > 1)",
            "()",
            "metrics.a > 1 OR",
            "OR metrics.a > 1",
            "NOT metrics.a > 1",
            "metrics.a > 1;",
            "metrics.a",
            "params.a = 1",
            "params.a > 'x'",
            "params.a = 'x",
            "= 1",
            "status IN (1)",
            "metrics.a IN ('x')",
            "metrics.a IS NULL",
            "run_id IN ()",
            "run_id IN ('a'",
        ] {
            assert!(parse(bad, &GRAMMAR).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,60}") {
            let _ = parse(&text, &GRAMMAR);
        }

        #[test]
        fn no_combination_of_words_makes_the_parser_panic(
            words in proptest::collection::vec(proptest::sample::select(vec![
                "metrics.a", "tags.`x y`", "=", "!=", ">", "'v'", "1", "-2e3", "AND", "OR", "IN", "NOT", "(", ")", ",",
                "IS", "NULL", "LIKE", "`", "\"", "dataset.name", "status", ";", ".", "é",
            ]), 0..12)
        ) {
            let _ = parse(&words.join(" "), &GRAMMAR);
            let _ = parse(&words.concat(), &GRAMMAR);
        }
    }
}
