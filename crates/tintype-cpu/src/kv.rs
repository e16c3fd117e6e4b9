//! Writing to the paged KV cache.

use half::{bf16, f16};
use tintype_ops::{DType, KvCache, Result};

use crate::device_value::checked_index;
use crate::float::Float;
use crate::parallel::Workers;
use crate::simd::Simd;
use crate::storage::Storage;
use crate::view::{FloatMatrix, Matrix};

/// Marks a padded token: nothing is stored for it.
const PADDING: i32 = -1;

/// Stores row `i` of `k` and `v` in slot `slots[i]`; slot −1 stores nothing.
///
/// # Errors
/// When a slot is not in the cache; nothing is stored then.
pub(crate) fn write_kv(
    workers: Workers<'_>,
    [k_side, v_side]: [&mut Storage; 2],
    cache: KvCache,
    [k, v]: [FloatMatrix<'_>; 2],
    slots: Matrix<'_, i32>,
) -> Result<()> {
    let num_slots = cache.num_slots() as usize;
    let mut stores = Vec::with_capacity(slots.num_rows());
    for (i, slot) in slots.rows().enumerate() {
        if slot[0] != PADDING {
            stores.push((i, checked_index("write_kv", i, "slot", slot[0], num_slots)?));
        }
    }
    let cost = 2 * stores.len() * k.num_cols();
    workers.for_each(vec![(k_side, k), (v_side, v)], cost, |(): &mut (), _, (side, x)| match cache
        .dtype
    {
        DType::F16 => write_side::<f16>(workers.simd, side, cache, x, &stores),
        DType::Bf16 => write_side::<bf16>(workers.simd, side, cache, x, &stores),
        _ => write_side::<f32>(workers.simd, side, cache, x, &stores),
    });
    Ok(())
}

/// `stores` pairs rows of `x` with slots.
fn write_side<T: Float>(
    simd: Simd,
    side: &mut Storage,
    cache: KvCache,
    x: FloatMatrix<'_>,
    stores: &[(usize, usize)],
) {
    let (head_dim, block_size) = (cache.head_dim as usize, cache.block_size as usize);
    let data = side.as_mut_slice::<T>();
    let mut scratch = Vec::new();
    for &(i, slot) in stores {
        let (block, position) = (slot / block_size, slot % block_size);
        let first_head = block * cache.num_kv_heads as usize;
        for (head, values) in x.row(simd, i, &mut scratch).chunks_exact(head_dim).enumerate() {
            let start = ((first_head + head) * block_size + position) * head_dim;
            T::store(simd, &mut data[start..start + head_dim], values);
        }
    }
}
