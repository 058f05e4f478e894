//! Tensors as they cross to a worker and back; the format is described in `worker.py`.

use crate::tensor::{Data, Tensor};

const TEXT: u8 = 4;

/// The body of a request.
pub(super) fn request(inputs: &[Tensor]) -> Result<Vec<u8>, String> {
    let mut body = vec![u8::try_from(inputs.len()).map_err(|_| "more than 255 inputs".to_owned())?];
    for tensor in inputs {
        let rank = u8::try_from(tensor.shape.len()).map_err(|_| "more than 255 dimensions".to_owned())?;
        body.extend([code(&tensor.data), rank]);
        for length in &tensor.shape {
            body.extend((*length as u64).to_le_bytes());
        }
        match &tensor.data {
            Data::F32(values) => body.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Data::F64(values) => body.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Data::I64(values) => body.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Data::Bool(values) => body.extend(values.iter().map(|value| u8::from(*value))),
            Data::Text(values) => {
                for value in values {
                    let length = u32::try_from(value.len()).map_err(|_| "a text of more than 4 GiB".to_owned())?;
                    body.extend(length.to_le_bytes());
                    body.extend(value.as_bytes());
                }
            }
        }
    }
    Ok(body)
}

fn code(data: &Data) -> u8 {
    match data {
        Data::F32(_) => 0,
        Data::F64(_) => 1,
        Data::I64(_) => 2,
        Data::Bool(_) => 3,
        Data::Text(_) => TEXT,
    }
}

/// The outputs by name, or what the model says is wrong.
pub(super) type Answer = Result<Vec<(String, Tensor)>, String>;

/// What a worker answered: the outputs by name, or what its model says is wrong.
pub(super) fn answer(body: &[u8]) -> Result<Answer, &'static str> {
    match body {
        [1, text @ ..] => Ok(Err(String::from_utf8_lossy(text).into_owned())),
        [0, rest @ ..] => outputs(&mut Reader { rest }).map(Ok).ok_or("it is cut off"),
        _ => Err("it is neither outputs nor an error"),
    }
}

fn outputs(reader: &mut Reader<'_>) -> Option<Vec<(String, Tensor)>> {
    let count = reader.take(1)?[0];
    (0..count).map(|_| output(reader)).collect()
}

fn output(reader: &mut Reader<'_>) -> Option<(String, Tensor)> {
    let length = u16::from_le_bytes(reader.array()?);
    let name = String::from_utf8_lossy(reader.take(usize::from(length))?).into_owned();
    let [code, rank] = reader.array()?;
    let shape = (0..rank).map(|_| usize::try_from(u64::from_le_bytes(reader.array()?)).ok());
    let shape: Vec<usize> = shape.collect::<Option<_>>()?;
    let count = shape.iter().try_fold(1_usize, |count, length| count.checked_mul(*length))?;
    let data = match code {
        0 => Data::F32(reader.numbers(count, f32::from_le_bytes)?),
        1 => Data::F64(reader.numbers(count, f64::from_le_bytes)?),
        2 => Data::I64(reader.numbers(count, i64::from_le_bytes)?),
        3 => Data::Bool(reader.take(count)?.iter().map(|byte| *byte != 0).collect()),
        TEXT => {
            let text = |_| {
                let length = u32::from_le_bytes(reader.array()?);
                Some(String::from_utf8_lossy(reader.take(length as usize)?).into_owned())
            };
            Data::Text((0..count).map(text).collect::<Option<_>>()?)
        }
        _ => return None,
    };
    Some((name, Tensor { shape, data }))
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn numbers<T, const N: usize>(&mut self, count: usize, read: impl Fn([u8; N]) -> T) -> Option<Vec<T>> {
        let bytes = self.take(count.checked_mul(N)?)?;
        let (numbers, _) = bytes.as_chunks::<N>();
        Some(numbers.iter().map(|bytes| read(*bytes)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_and_one_that_is_cut_off_is_not() {
        let tensor = Tensor { shape: vec![2], data: Data::Text(vec!["a".into(), "bc".into()]) };
        let inputs = request(std::slice::from_ref(&tensor)).unwrap();
        // An answer is a request with names.
        let body = [&[0, 1, 1, 0, b'x'][..], &inputs[1..]].concat();
        assert_eq!(answer(&body), Ok(Ok(vec![("x".to_owned(), tensor)])));
        for length in 0..body.len() {
            assert!(answer(&body[..length]).is_err(), "{length}");
        }
        assert_eq!(answer(b"\x01ValueError: no"), Ok(Err("ValueError: no".to_owned())));
    }

    proptest::proptest! {
        #[test]
        fn no_answer_makes_it_panic(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = answer(&body);
        }
    }
}
