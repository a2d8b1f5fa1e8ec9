// One source for three compilers: NVRTC (CuPy), nvcc (compile checks) and g++ (tests without a GPU).
//
// A kernel is written in one of two shapes.
//
// Thread kernel: no thread looks at another.            Block kernel: threads share memory, phase by phase.
//   KERNEL(double_all, 128, 1)(u32 *x, u64 n) {            KERNEL(sum_blocks, 128, 1)(const u32 *x, u32 *out) {
//     for (u64 i = grid_index(); i < n; i += grid_size())    SHARED(u32, partial, 128);
//       x[i] *= 2;                                           PER_THREAD(u32, mine, 128);
//   }                                                        PHASE(t) { mine[LANE(t)] = x[t]; partial[t] = ... }
//   HOST_THREADS(double_all)                                 PHASE(t) { if (t == 0) out[blockIdx.x] = ... }
//                                                          }
//                                                          HOST_BLOCKS(sum_blocks)
//
// On the GPU a PHASE is the code of the thread itself, followed by __syncthreads(); on the host it is a loop over
// the threads of the block, so a block kernel gives the same results there whatever the threads do inside one
// phase, as long as no thread reads in a phase what another writes in it. What a thread keeps from one phase to
// the next stands in PER_THREAD variables: one value in a register on the GPU, an array on the host.
// HOST_THREADS and HOST_BLOCKS export `NAME_on_host(grid, block, void **arguments)`, with the arguments as
// cuLaunchKernel takes them; on the GPU they are empty.
#pragma once

#if defined(__CUDACC__)

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed int i32;
typedef signed long long i64;

#define ON_GPU 1
// KERNEL(name, threads per block at most, blocks per multiprocessor that must fit: bounds the registers)
#define KERNEL(name, threads, blocks) extern "C" __global__ void __launch_bounds__(threads, blocks) name
#define FUNCTION static __device__ __forceinline__
#define OUTLINED static __device__ __noinline__
#define CONSTANT static __device__ __constant__ const
#define RESTRICT __restrict__
#define UNROLL _Pragma("unroll")
#define ROLLED _Pragma("unroll 1")
#define SHARED(type, name, count) __shared__ type name[count]
#define PER_THREAD(type, name, threads) type name[1]
#define LANE(t) 0
#define PHASE(t) for (u32 t = threadIdx.x, once_ = 1; once_; once_ = 0, __syncthreads())
#define HOST_THREADS(name)
#define HOST_BLOCKS(name)

#else

#include <cstddef>
#include <cstdint>
#include <utility>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef unsigned long long u64;
typedef int32_t i32;
typedef long long i64;

struct HostIndex {
    unsigned x, y, z;
};
static thread_local HostIndex threadIdx, blockIdx, blockDim, gridDim;

#define KERNEL(name, threads, blocks) static void name
#define FUNCTION static inline __attribute__((always_inline))
#define OUTLINED static __attribute__((noinline))
#define CONSTANT static const
#define RESTRICT __restrict__
#define UNROLL _Pragma("GCC unroll 4")
#define ROLLED
#define SHARED(type, name, count) static thread_local type name[count]
#define PER_THREAD(type, name, threads) static thread_local type name[threads]
#define LANE(t) (t)
#define PHASE(t) for (u32 t = 0; t < blockDim.x; ++t)

template <class... A, size_t... I>
static void host_call(void (*kernel)(A...), void **arguments, std::index_sequence<I...>) {
    kernel(*static_cast<std::remove_reference_t<A> *>(arguments[I])...);
}

template <class... A>
static void host_launch(void (*kernel)(A...), u32 grid, u32 block, u32 calls, void **arguments) {
    gridDim = {grid, 1, 1};
    blockDim = {block, 1, 1};
    for (u32 b = 0; b < grid; ++b)
        for (u32 t = 0; t < calls; ++t) {
            blockIdx = {b, 0, 0};
            threadIdx = {t, 0, 0};
            host_call(kernel, arguments, std::index_sequence_for<A...>());
        }
}

#define HOST_THREADS(name) \
    extern "C" void name##_on_host(u32 grid, u32 block, void **arguments) { \
        host_launch(name, grid, block, block, arguments); \
    }
#define HOST_BLOCKS(name) \
    extern "C" void name##_on_host(u32 grid, u32 block, void **arguments) { \
        host_launch(name, grid, block, 1, arguments); \
    }

#endif

FUNCTION u64 grid_index() { return (u64)blockIdx.x * blockDim.x + threadIdx.x; }
FUNCTION u64 grid_size() { return (u64)gridDim.x * blockDim.x; }
