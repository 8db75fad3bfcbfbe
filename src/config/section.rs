//! One table of the file, read key by key. (Skeleton: replaced by the config work.)

/// One table of the file.
#[derive(Debug)]
pub struct Section<'a>(std::marker::PhantomData<&'a ()>);
