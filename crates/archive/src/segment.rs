//! Events as the columns of a Parquet file, and back. It refuses to know what
//! they mean: the envelope is columns, the payload is bytes.

use std::sync::Arc;

use bytes::Bytes;
use kernel::{
    AccountId, AggregateId, Envelope, Kind, Partition, Position, Recorded, SpanContext, Timestamp,
    Uuid,
};
use parquet::{
    basic::{Compression, Encoding, ZstdLevel},
    column::reader::ColumnReader,
    data_type::{
        ByteArray, ByteArrayType, DataType, FixedLenByteArray, FixedLenByteArrayType, Int32Type,
        Int64Type,
    },
    errors::ParquetError,
    file::{
        properties::{EnabledStatistics, WriterProperties},
        reader::{FileReader, RowGroupReader, SerializedFileReader},
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::{parser::parse_message_type, types::ColumnPath},
};

/// Every file has all columns: a reader of many takes the first one's for those of all.
const SCHEMA: &str = "message event {
    required int32 partition (INTEGER(16,false));
    required int64 epoch;
    required int64 seq;
    required int64 time (TIMESTAMP(MILLIS,true));
    required binary type (STRING);
    required int32 type_version (INTEGER(16,false));
    required int32 kind (INTEGER(8,false));
    optional fixed_len_byte_array(16) aggregate (UUID);
    optional fixed_len_byte_array(16) member (UUID);
    required int64 version;
    optional fixed_len_byte_array(16) actor (UUID);
    optional fixed_len_byte_array(16) correlation (UUID);
    optional binary causation (STRING);
    optional fixed_len_byte_array(16) key_hash;
    optional int64 fingerprint;
    required binary data;
    optional fixed_len_byte_array(24) trace;
    required fixed_len_byte_array(16) mac;
}";
/// What differs little from row to row, or grows.
const DELTAS: [&str; 4] = ["epoch", "seq", "time", "version"];
/// What is another one in every row.
const RANDOM: [&str; 5] = ["correlation", "key_hash", "fingerprint", "trace", "mac"];
const ZSTD_LEVEL: i32 = 3;

type Result<T> = std::result::Result<T, ParquetError>;

/// The bytes of a file.
pub(crate) fn write(events: &[Recorded]) -> Result<Vec<u8>> {
    let schema = Arc::new(parse_message_type(SCHEMA)?);
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties()?))?;
    let mut rows = writer.next_row_group()?;
    let each = || events.iter();
    let uuid = |id: Uuid| FixedLenByteArray::from(ByteArray::from(id.as_bytes().to_vec()));
    // Nothing has the nil one.
    let id = |id: Uuid| (!id.is_nil()).then(|| uuid(id));
    let hash = |hash: u128| FixedLenByteArray::from(ByteArray::from(hash.to_be_bytes().to_vec()));
    let text = |text: &str| ByteArray::from(text);
    let partition = |e: &Recorded| Some(i32::from(e.position.partition.0));
    column::<Int32Type>(&mut rows, each().map(partition))?;
    column::<Int64Type>(&mut rows, each().map(|e| Some(e.position.epoch as i64)))?;
    column::<Int64Type>(&mut rows, each().map(|e| Some(e.position.seq as i64)))?;
    let envelopes = || each().map(|recorded| &recorded.envelope);
    column::<Int64Type>(&mut rows, envelopes().map(|e| Some(e.recorded_at.0)))?;
    column::<ByteArrayType>(&mut rows, envelopes().map(|e| Some(text(&e.event_type))))?;
    column::<Int32Type>(
        &mut rows,
        envelopes().map(|e| Some(i32::from(e.event_version))),
    )?;
    column::<Int32Type>(
        &mut rows,
        envelopes().map(|e| Some(i32::from(e.aggregate.kind.0))),
    )?;
    column::<FixedLenByteArrayType>(&mut rows, envelopes().map(|e| id(e.aggregate.id)))?;
    column::<FixedLenByteArrayType>(&mut rows, envelopes().map(|e| e.aggregate.member.map(uuid)))?;
    column::<Int64Type>(&mut rows, envelopes().map(|e| Some(e.version as i64)))?;
    column::<FixedLenByteArrayType>(&mut rows, envelopes().map(|e| id(e.actor.0)))?;
    column::<FixedLenByteArrayType>(&mut rows, envelopes().map(|e| id(e.correlation)))?;
    let causation = |e: &Envelope| e.causation.map(|at| text(&at.to_string()));
    column::<ByteArrayType>(&mut rows, envelopes().map(causation))?;
    column::<FixedLenByteArrayType>(&mut rows, envelopes().map(|e| e.receipt.map(|r| hash(r.0))))?;
    column::<Int64Type>(
        &mut rows,
        envelopes().map(|e| e.receipt.map(|r| r.1 as i64)),
    )?;
    let data = |e: &Envelope| Some(ByteArray::from(e.data.clone()));
    column::<ByteArrayType>(&mut rows, envelopes().map(data))?;
    let bytes = |at: SpanContext| ByteArray::from(at.to_bytes().to_vec()).into();
    column::<FixedLenByteArrayType>(&mut rows, envelopes().map(|e| e.trace.map(bytes)))?;
    let mac = |e: &Recorded| Some(ByteArray::from(e.mac.to_vec()).into());
    column::<FixedLenByteArrayType>(&mut rows, each().map(mac))?;
    rows.close()?;
    writer.into_inner()
}

fn properties() -> Result<WriterProperties> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_row_count(None);
    for column in DELTAS {
        let path = || ColumnPath::from(column);
        properties = properties
            .set_column_dictionary_enabled(path(), false)
            .set_column_encoding(path(), Encoding::DELTA_BINARY_PACKED);
    }
    for column in RANDOM {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(column), false);
    }
    Ok(properties.build())
}

/// Writes the next column; a none is allowed where the schema says optional.
fn column<T: DataType>(
    rows: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    values: impl Iterator<Item = Option<T::T>>,
) -> Result<()> {
    let missing = || ParquetError::General("the schema has fewer columns".into());
    let mut writer = rows.next_column()?.ok_or_else(missing)?;
    let (mut there, mut levels) = (Vec::new(), Vec::new());
    for value in values {
        levels.push(i16::from(value.is_some()));
        there.extend(value);
    }
    let typed = writer.typed::<T>();
    let optional = typed.get_descriptor().max_def_level() > 0;
    typed.write_batch(&there, optional.then_some(&levels[..]), None)?;
    writer.close()
}

/// The events of a file of `partition`.
pub(crate) fn read(partition: Partition, bytes: Bytes) -> Result<Vec<Recorded>> {
    let file = SerializedFileReader::new(bytes)?;
    let mut events = Vec::new();
    for group in 0..file.num_row_groups() {
        let rows = file.get_row_group(group)?;
        let count = rows.metadata().num_rows() as usize;
        let mut columns = Columns {
            rows: &*rows,
            count,
            next: 0,
        };
        let partitions = columns.required::<Int32Type>()?;
        let epoch = columns.required::<Int64Type>()?;
        let seq = columns.required::<Int64Type>()?;
        let recorded_at = columns.required::<Int64Type>()?;
        let event_type = columns.required::<ByteArrayType>()?;
        let event_version = columns.required::<Int32Type>()?;
        let kind = columns.required::<Int32Type>()?;
        let aggregate = columns.optional::<FixedLenByteArrayType>()?;
        let member = columns.optional::<FixedLenByteArrayType>()?;
        let version = columns.required::<Int64Type>()?;
        let actor = columns.optional::<FixedLenByteArrayType>()?;
        let correlation = columns.optional::<FixedLenByteArrayType>()?;
        let causation = columns.optional::<ByteArrayType>()?;
        let key_hash = columns.optional::<FixedLenByteArrayType>()?;
        let fingerprint = columns.optional::<Int64Type>()?;
        let data = columns.required::<ByteArrayType>()?;
        let trace = columns.optional::<FixedLenByteArrayType>()?;
        let mac = columns.required::<FixedLenByteArrayType>()?;
        if partitions.iter().any(|one| *one != i32::from(partition.0)) {
            return Err(wrong("it has events of another partition"));
        }
        events.reserve(count);
        for row in 0..count {
            let member = member[row].as_ref().map(|id| uuid(id.data())).transpose()?;
            let hash = key_hash[row].as_ref().map(|hash| uuid(hash.data()));
            let causation = causation[row].as_ref();
            let causation = causation.map(|at| text(at)?.parse::<Position>().map_err(wrong));
            let receipt = match (hash.transpose()?, fingerprint[row]) {
                (Some(hash), Some(fingerprint)) => Some((hash.as_u128(), fingerprint as u64)),
                _ => None,
            };
            let context = |at: &FixedLenByteArray| SpanContext::from_bytes(at.data());
            events.push(Recorded {
                position: Position {
                    partition,
                    epoch: epoch[row] as u64,
                    seq: seq[row] as u64,
                },
                envelope: Envelope {
                    event_type: text(&event_type[row])?.to_owned(),
                    event_version: event_version[row] as u16,
                    aggregate: AggregateId {
                        kind: Kind(kind[row] as u8),
                        id: optional(&aggregate[row])?,
                        member,
                    },
                    version: version[row] as u64,
                    recorded_at: Timestamp(recorded_at[row]),
                    actor: AccountId(optional(&actor[row])?),
                    correlation: optional(&correlation[row])?,
                    causation: causation.transpose()?,
                    receipt,
                    data: data[row].data().to_vec(),
                    trace: trace[row].as_ref().and_then(context),
                },
                mac: mac[row].data().try_into().map_err(wrong)?,
            });
        }
    }
    Ok(events)
}

/// The columns of a row group, one after the other.
struct Columns<'a> {
    rows: &'a dyn RowGroupReader,
    count: usize,
    next: usize,
}

impl Columns<'_> {
    fn required<T: DataType>(&mut self) -> Result<Vec<T::T>> {
        let (values, _) = self.take::<T>()?;
        match values.len() == self.count {
            true => Ok(values),
            false => Err(wrong("a column is short")),
        }
    }

    fn optional<T: DataType>(&mut self) -> Result<Vec<Option<T::T>>> {
        let (values, levels) = self.take::<T>()?;
        let mut values = values.into_iter();
        let value = |level: &i16| if *level > 0 { values.next() } else { None };
        let all: Vec<_> = levels.iter().map(value).collect();
        match all.len() == self.count {
            true => Ok(all),
            false => Err(wrong("a column is short")),
        }
    }

    fn take<T: DataType>(&mut self) -> Result<(Vec<T::T>, Vec<i16>)> {
        let reader: ColumnReader = self.rows.get_column_reader(self.next)?;
        self.next += 1;
        let mut reader = parquet::column::reader::get_typed_column_reader::<T>(reader);
        let (mut values, mut levels) = (Vec::with_capacity(self.count), Vec::new());
        let mut records = 0;
        while records < self.count {
            let left = self.count - records;
            let (read, ..) = reader.read_records(left, Some(&mut levels), None, &mut values)?;
            if read == 0 {
                break;
            }
            records += read;
        }
        Ok((values, levels))
    }
}

fn uuid(bytes: &[u8]) -> Result<Uuid> {
    Uuid::from_slice(bytes).map_err(wrong)
}

/// Nil where there is none.
fn optional(bytes: &Option<FixedLenByteArray>) -> Result<Uuid> {
    bytes
        .as_ref()
        .map_or(Ok(Uuid::nil()), |bytes| uuid(bytes.data()))
}

fn text(bytes: &ByteArray) -> Result<&str> {
    bytes.as_utf8()
}

fn wrong(error: impl std::fmt::Display) -> ParquetError {
    ParquetError::General(error.to_string())
}

#[cfg(test)]
mod tests {
    use parquet::basic::{LogicalType, TimeUnit};

    use super::*;

    fn event(seq: u64, trace: Option<SpanContext>) -> Recorded {
        let id = Uuid::from_u128(seq.into());
        Recorded {
            position: Position {
                partition: Partition(3),
                epoch: 1,
                seq,
            },
            envelope: Envelope {
                event_type: "Liked".into(),
                event_version: 1,
                aggregate: AggregateId::single(Kind(4), id),
                version: 1,
                recorded_at: Timestamp(0),
                actor: AccountId(id),
                correlation: id,
                causation: None,
                receipt: None,
                data: Vec::new(),
                trace,
            },
            mac: [seq as u8; kernel::MAC_BYTES],
        }
    }

    #[test]
    fn every_file_has_typed_columns_for_readers_of_parquet() -> Result<()> {
        let trace = SpanContext {
            trace: Uuid::from_u128(7),
            span: 8,
        };
        for traces in [[None, None], [None, Some(trace)]] {
            let events: Vec<_> = (0..).zip(traces).map(|(n, at)| event(n, at)).collect();
            let bytes = Bytes::from(write(&events)?);
            let file = SerializedFileReader::new(bytes.clone())?;
            let schema = file.metadata().file_metadata().schema_descr_ptr();
            let column = |name: &str| {
                let mut columns = schema.columns().iter();
                let found = columns.find(|column| column.name() == name);
                found.and_then(|column| column.logical_type_ref().cloned())
            };
            assert_eq!(schema.num_columns(), 18);
            let time = LogicalType::timestamp(true, TimeUnit::MILLIS);
            assert_eq!(column("time"), Some(time));
            for id in ["aggregate", "member", "actor", "correlation"] {
                assert_eq!(column(id), Some(LogicalType::Uuid), "{id}");
            }
            assert_eq!(column("partition"), Some(LogicalType::integer(16, false)));
            for name in [
                "epoch", "seq", "version", "data", "key_hash", "trace", "mac",
            ] {
                assert_eq!(column(name), None, "{name}");
            }
            // The first event's ids are nil, which is none.
            let actors = file.metadata().row_group(0).column(10).statistics();
            assert_eq!(actors.and_then(|actors| actors.null_count_opt()), Some(1));
            assert_eq!(read(Partition(3), bytes.clone())?, events);
            assert!(read(Partition(4), bytes).is_err());
        }
        Ok(())
    }
}
