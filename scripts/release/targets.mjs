// The platforms a release is built for: what npm selects a package by, what the compiler is told, and what the binary may
// need of a machine. A platform more is a row here and a manifest under npm/. It builds nothing.

/** Functions of glibc newer than this may not be used: the floor of Node 20 itself. */
export const glibcFloor = '2.28'
/** The oldest macOS that the binaries are for. */
export const macosFloor = '12.0'

/**
 * - `triple`: for the compiler; the number after `gnu` is the oldest glibc to link against
 * - `system`, `processor`: CMake's names
 * - `needs`: the only shared libraries the binary may ask for
 * - `isas`: the instruction sets it must carry kernels for
 */
export const targets = [
  {
    name: 'linux-x64',
    title: 'Linux on x64 with glibc',
    select: { os: ['linux'], cpu: ['x64'], libc: ['glibc'] },
    triple: `x86_64-linux-gnu.${glibcFloor}`,
    system: 'Linux',
    processor: 'x86_64',
    needs: /^(lib(c|m|pthread|dl|rt)\.so\.\d|ld-linux-x86-64\.so\.2)$/,
    isas: ['avx512', 'avx2', 'base'],
  },
  {
    name: 'linux-x64-musl',
    title: 'Linux on x64 with musl',
    select: { os: ['linux'], cpu: ['x64'], libc: ['musl'] },
    triple: 'x86_64-linux-musl',
    system: 'Linux',
    processor: 'x86_64',
    needs: /^libc\.so$|^libc\.musl-x86_64\.so\.1$/,
    isas: ['avx512', 'avx2', 'base'],
  },
  {
    name: 'linux-arm64',
    title: 'Linux on arm64 with glibc',
    select: { os: ['linux'], cpu: ['arm64'], libc: ['glibc'] },
    triple: `aarch64-linux-gnu.${glibcFloor}`,
    system: 'Linux',
    processor: 'aarch64',
    needs: /^(lib(c|m|pthread|dl|rt)\.so\.\d|ld-linux-aarch64\.so\.1)$/,
    isas: ['base'],
  },
  {
    name: 'linux-arm64-musl',
    title: 'Linux on arm64 with musl',
    select: { os: ['linux'], cpu: ['arm64'], libc: ['musl'] },
    triple: 'aarch64-linux-musl',
    system: 'Linux',
    processor: 'aarch64',
    needs: /^libc\.so$|^libc\.musl-aarch64\.so\.1$/,
    isas: ['base'],
  },
  {
    name: 'win32-x64',
    title: 'Windows on x64',
    select: { os: ['win32'], cpu: ['x64'] },
    triple: 'x86_64-windows-gnu',
    system: 'Windows',
    processor: 'AMD64',
    needs: /^(node\.exe|kernel32\.dll|ntdll\.dll|msvcrt\.dll|ucrtbase\.dll|api-ms-win-[\w-]+\.dll|advapi32\.dll)$/i,
    isas: ['avx512', 'avx2', 'base'],
  },
  {
    name: 'darwin-arm64',
    title: 'macOS on Apple silicon',
    select: { os: ['darwin'], cpu: ['arm64'] },
    triple: `aarch64-macos.${macosFloor}`,
    system: 'Darwin',
    processor: 'arm64',
    needs: /^\/usr\/lib\/libSystem\.B\.dylib$/,
    isas: ['base'],
  },
  {
    name: 'darwin-x64',
    title: 'macOS on Intel processors',
    select: { os: ['darwin'], cpu: ['x64'] },
    triple: `x86_64-macos.${macosFloor}`,
    system: 'Darwin',
    processor: 'x86_64',
    needs: /^\/usr\/lib\/libSystem\.B\.dylib$/,
    isas: ['avx512', 'avx2', 'base'],
  },
]

/**
 * The package for cards: found by the loader and by `gradline doctor` where it is installed. It is no optional dependency of
 * the main package, since npm would then bring its machine code for every generation of cards to each Linux machine on x64,
 * card or not. `architectures`: the cards it has machine code for; sm_80 serves 8.x, sm_100 10.x and sm_120 12.x, and PTX
 * all that are newer than 9.0.
 */
export const cuda = {
  name: 'cuda-linux-x64',
  title: 'NVIDIA cards on Linux x64',
  select: { os: ['linux'], cpu: ['x64'], libc: ['glibc'] },
  triple: `x86_64-linux-gnu.${glibcFloor}`,
  needs: /^(lib(c|m|pthread|dl|rt)\.so\.\d|ld-linux-x86-64\.so\.2)$/,
  files: ['libgradline_cuda.so', 'gradline_cublas.node'],
  architectures: ['sm_80', 'sm_90a', 'sm_100', 'sm_120'],
}

/** The binaries in a target's package. */
export const filesOf = ({ files = ['gradline.node'] }) => files
