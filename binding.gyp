# The cuBLAS binding, build/Release/gradline_cublas.node: host C++ only, needs no CUDA header and no CUDA library to build.
# Everything else is built by CMakeLists.txt. `npm run build` runs this file; npm itself never does ("gypfile": false).
# -Wno-restrict: GCC 12 warns of its own strings. With -Dstandin=1 also the stand-in for the CUDA libraries, on which
# test/cublas runs; it is in no package.
{
  "variables": {"standin%": 0},
  "conditions": [["standin==1", {"targets": [{
    "target_name": "cublas_standin",
    "sources": ["<!@(ls test/cublas/standin/*.cc)"],
    "include_dirs": ["native"],
    "defines": ["NAPI_VERSION=8"],
    "cflags": ["-Wall", "-Wextra", "-Werror", "-Wno-restrict"],
    "cflags!": ["-fno-exceptions"],
    "cflags_cc!": ["-fno-exceptions", "-std=gnu++17", "-std=gnu++20"],
    "cflags_cc": ["-std=c++20", "-fvisibility=hidden"]
  }]}]],
  "targets": [{
    "target_name": "gradline_cublas",
    "sources": ["<!@(ls native/cublas/*.cc)"],
    "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")", "native"],
    "defines": ["NAPI_VERSION=8", "NODE_ADDON_API_CPP_EXCEPTIONS", "NODE_ADDON_API_DISABLE_DEPRECATED",
      "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"],
    "cflags": ["-Wall", "-Wextra", "-Werror", "-Wno-restrict"],
    "cflags!": ["-fno-exceptions"],
    "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++17", "-std=gnu++20"],
    "cflags_cc": ["-std=c++20", "-fvisibility=hidden"],
    "ldflags": ["-Wl,-z,nodelete"],
    "libraries": ["-ldl"]
  }]
}
