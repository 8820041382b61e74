# The objects of csrc/cuda, by ONEDRAW_CUDA_COMPILER, and what `onedraw info` tells of them.

set(CMAKE_CUDA_COMPILER "${ONEDRAW_CUDA_COMPILER}")
set(CMAKE_CUDA_ARCHITECTURES "${ONEDRAW_CUDA_KNOWN}")
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
enable_language(CUDA)

# One nvcc compiles for several architectures at a time: 0 is as many as there are processors.
set(threads "$ENV{CMAKE_BUILD_PARALLEL_LEVEL}")
if(threads STREQUAL "")
  set(threads 0)
endif()

add_library(onedraw_cuda OBJECT csrc/cuda/kernel.cu)
target_compile_options(onedraw_cuda PRIVATE
  -O3 -fmad=false --expt-relaxed-constexpr --extended-lambda -Xfatbin=-compress-all
  --threads=${threads})
list(APPEND ONEDRAW_OBJECTS $<TARGET_OBJECTS:onedraw_cuda>)

# ONEDRAW_CUDA_REAL, ONEDRAW_CUDA_PTX: the architectures that there is code of, words with spaces between.
set(real "")
set(ptx "")
foreach(architecture IN LISTS CMAKE_CUDA_ARCHITECTURES)
  if(architecture STREQUAL "native")
    list(APPEND real ${CMAKE_CUDA_ARCHITECTURES_NATIVE})
  elseif(architecture MATCHES "^(.*)-real$")
    list(APPEND real "${CMAKE_MATCH_1}")
  elseif(architecture MATCHES "^(.*)-virtual$")
    list(APPEND ptx "${CMAKE_MATCH_1}")
  else()
    list(APPEND real "${architecture}")
    list(APPEND ptx "${architecture}")
  endif()
endforeach()
list(TRANSFORM real REPLACE "-real$" "")
list(JOIN real " " ONEDRAW_CUDA_REAL)
list(JOIN ptx " " ONEDRAW_CUDA_PTX)

string(REGEX MATCH "^[0-9]+\\.[0-9]+" ONEDRAW_CUDA_RUNTIME "${ONEDRAW_CUDA_VERSION}")
if(CMAKE_CUDA_RUNTIME_LIBRARY STREQUAL "Shared")
  string(APPEND ONEDRAW_CUDA_RUNTIME " shared")
else()
  string(APPEND ONEDRAW_CUDA_RUNTIME " static")
endif()
