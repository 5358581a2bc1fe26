# The cuBLAS binding, build/Release/gradline_cublas.node: host C++ only, needs no CUDA header and no CUDA library to build.
# Everything else is built by CMakeLists.txt. `npm run build` runs this file; npm itself never does ("gypfile": false).
{
  "targets": [{
    "target_name": "gradline_cublas",
    "sources": ["native/cublas/addon.cc"],
    "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")", "native"],
    "defines": ["NAPI_VERSION=8", "NODE_ADDON_API_CPP_EXCEPTIONS", "NODE_ADDON_API_DISABLE_DEPRECATED"],
    "cflags": ["-Wall", "-Wextra", "-Werror"],
    "cflags!": ["-fno-exceptions"],
    "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++17", "-std=gnu++20"],
    "cflags_cc": ["-std=c++20", "-fvisibility=hidden"],
    "ldflags": ["-Wl,-z,nodelete"],
    "libraries": ["-ldl"]
  }]
}
