//! How messages become bytes: as tonic does it, in smaller pieces of memory.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::ProstCodec;

/// Bytes that a message's buffer has at first; it grows for what is longer. Orders, promises and what is answered to them
/// fit in. tonic takes 8 KiB for each request and each answer, so that buffers of calls in flight leave the processor's
/// caches before they are used again.
const BUFFER: usize = 2 * 1024;
/// Several messages of a stream are handed on together up to here; tonic's own.
const TOGETHER: usize = 32 * 1024;

/// Writes `T`, reads `U`; what the generated clients and servers use.
#[derive(Clone, Debug)]
pub struct Buffered<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Buffered<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for Buffered<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = <ProstCodec<T, U> as Codec>::Encoder;
    type Decoder = <ProstCodec<T, U> as Codec>::Decoder;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::new(BUFFER, TOGETHER))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(BufferSettings::new(BUFFER, TOGETHER))
    }
}
