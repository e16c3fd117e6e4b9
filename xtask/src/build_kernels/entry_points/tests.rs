//! What nvcc and ptxas print, as they print it.

use super::*;

const PTX: &str = "\
.visible .entry scale(
	.param .align 8 .b8 scale_param_0[40]
)
.maxntid 256
{
	ret;
}
	// .globl	add_bf16
.visible .entry add_bf16(
	.param .align 8 .b8 add_bf16_param_0[24]
)
{
}
";

const PREPROCESSED: &str = r#"
struct ScaleParams { View out; };
template <typename T> __attribute__((global)) void unused(T a, T b) {}
extern "C" __attribute__((global)) void __attribute__((launch_bounds((256), (2))))
    scale(const __attribute__((grid_constant)) ScaleParams p) {}
extern "C" __attribute__((global)) __attribute__((launch_bounds(256)))
void add_bf16(
    const __attribute__((grid_constant)) AddParams params) { f(a, b); }
"#;

const REPORT: &str = "\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'scale' for 'sm_90a'
ptxas info    : Function properties for scale
    16 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 22 registers, used 1 barriers, 1056 bytes smem
ptxas info    : Compiling entry function 'add_bf16' for 'sm_90a'
ptxas info    : Function properties for add_bf16
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 30 registers, used 0 barriers
";

#[test]
fn entry_points_are_read_with_their_parameter_and_cost() {
    let add = EntryPoint {
        name: "add_bf16".into(),
        params: "AddParams".into(),
        params_bytes: 24,
        resources: Resources { registers: 30, ..Resources::default() },
    };
    let scale = EntryPoint {
        name: "scale".into(),
        params: "ScaleParams".into(),
        params_bytes: 40,
        resources: Resources {
            registers: 22,
            shared_bytes: 1056,
            stack_bytes: 16,
            spill_bytes: 12,
        },
    };
    assert_eq!(read(PTX, PREPROCESSED, REPORT).unwrap(), [add, scale]);
}

#[test]
fn a_kernel_that_is_not_extern_c_with_one_struct_is_an_error() {
    let mangled = PTX.replace("scale", "_Z5scaleP6Params");
    let message = read(&mangled, PREPROCESSED, REPORT).unwrap_err().to_string();
    assert!(message.contains("_Z5scaleP6Params is no"), "{message}");

    let pointer = PTX.replace(".param .align 8 .b8 scale_param_0[40]", ".param .u64 scale_param_0");
    let message = read(&pointer, PREPROCESSED, REPORT).unwrap_err().to_string();
    assert!(message.contains("scale takes `.param .u64 scale_param_0`"), "{message}");

    let two = PTX.replace("scale_param_0[40]", "scale_param_0[40],\n\t.param .u32 scale_param_1");
    assert!(read(&two, PREPROCESSED, REPORT).is_err());
}

#[test]
fn a_kernel_that_ptxas_did_not_see_is_an_error() {
    let message = read(PTX, PREPROCESSED, "").unwrap_err().to_string();
    assert!(message.contains("ptxas says nothing"), "{message}");
}
