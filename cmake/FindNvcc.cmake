# Whether the CUDA kernels are built, and by which nvcc. It runs as a script, too: cmake -DONEDRAW_CUDA=AUTO -P this file.
#
#   ONEDRAW_CUDA                  ON, OFF, or AUTO: where there is an nvcc that works
#   ONEDRAW_CUDA_ARCHITECTURES    as CMAKE_CUDA_ARCHITECTURES
#   ONEDRAW_CUDA_FOLDERS          where a toolkit usually is
#   the variable ONEDRAW_NVCC of the environment: pypi for the nvcc that pip put beside the other build requirements
#
# sets
#
#   ONEDRAW_CUDA_COMPILER         the nvcc; empty in a build for the CPU
#   ONEDRAW_CUDA_STATE            which it is, and why: a sentence for the build's log and for `onedraw info`
#   ONEDRAW_CUDA_VERSION          the nvcc's, such as 13.0.88
#   ONEDRAW_CUDA_KNOWN            those of ONEDRAW_CUDA_ARCHITECTURES that it compiles for
#   ONEDRAW_CUDA_UNKNOWN          the others

include("${CMAKE_CURRENT_LIST_DIR}/TryNvcc.cmake")

# The paths to try, the first that works to be taken; or why there is none.
function(onedraw_nvcc_candidates result why)
  set(${why} "" PARENT_SCOPE)
  if(NOT "$ENV{ONEDRAW_NVCC}" STREQUAL "")
    if(NOT "$ENV{ONEDRAW_NVCC}" STREQUAL "pypi")
      message(FATAL_ERROR "ONEDRAW_NVCC must be pypi, or not set, got '$ENV{ONEDRAW_NVCC}'")
    endif()
    set(python "${Python_EXECUTABLE}")
    if(NOT python)
      set(python python3)
    endif()
    execute_process(COMMAND "${python}" -c "import nvidia; print(*nvidia.__path__, sep=';', end='')"
      OUTPUT_VARIABLE folders ERROR_QUIET)
    list(TRANSFORM folders APPEND "/*/bin/nvcc")
    file(GLOB paths ${folders})
    if(NOT paths)
      set(${why} "ONEDRAW_NVCC is pypi, but this build's Python has no nvidia-cuda-nvcc, which pip installs by itself only \
with build isolation" PARENT_SCOPE)
    endif()
    set(${result} "${paths}" PARENT_SCOPE)
    return()
  endif()

  foreach(name IN ITEMS CMAKE_CUDA_COMPILER CUDACXX)
    set(given "${${name}}")
    if(name STREQUAL "CUDACXX")
      set(given "$ENV{CUDACXX}")
    endif()
    if(NOT given STREQUAL "")
      find_program(program NAMES "${given}" NO_CACHE)
      if(program)
        set(${result} "${program}" PARENT_SCOPE)
      else()
        set(${result} "" PARENT_SCOPE)
        set(${why} "${name} is '${given}', which is no program" PARENT_SCOPE)
      endif()
      return()
    endif()
  endforeach()

  set(paths "")
  foreach(folder IN ITEMS "$ENV{CUDA_HOME}" "$ENV{CUDA_PATH}" PATH LISTS ONEDRAW_CUDA_FOLDERS)
    unset(program)
    if(folder STREQUAL "PATH")
      find_program(program NAMES nvcc PATHS ENV PATH NO_DEFAULT_PATH NO_CACHE)
    elseif(NOT folder STREQUAL "")
      find_program(program NAMES nvcc PATHS "${folder}/bin" NO_DEFAULT_PATH NO_CACHE)
    endif()
    if(program)
      list(APPEND paths "${program}")
    endif()
  endforeach()
  list(REMOVE_DUPLICATES paths)
  if(NOT paths)
    list(JOIN ONEDRAW_CUDA_FOLDERS ", " folders)
    set(${why} "no nvcc was found (CUDACXX, CUDA_HOME, CUDA_PATH, PATH, ${folders})" PARENT_SCOPE)
  endif()
  set(${result} "${paths}" PARENT_SCOPE)
endfunction()

set(ONEDRAW_CUDA_COMPILER "")
set(ONEDRAW_CUDA_VERSION "")
set(ONEDRAW_CUDA_KNOWN "")
set(ONEDRAW_CUDA_UNKNOWN "")

string(TOUPPER "${ONEDRAW_CUDA}" wanted)
if(wanted MATCHES "^(OFF|NO|FALSE|0)$")
  set(ONEDRAW_CUDA_STATE "not in this build: ONEDRAW_CUDA is OFF")
elseif(NOT wanted MATCHES "^(AUTO|ON|YES|TRUE|1)$")
  message(FATAL_ERROR "ONEDRAW_CUDA must be ON, OFF or AUTO, got '${ONEDRAW_CUDA}'")
else()
  onedraw_nvcc_candidates(candidates why)
  set(reasons ${why})
  foreach(candidate IN LISTS candidates)
    onedraw_try_nvcc("${candidate}" why)
    if(why STREQUAL "")
      set(ONEDRAW_CUDA_COMPILER "${candidate}")
      break()
    endif()
    list(APPEND reasons "${why}")
  endforeach()
  list(JOIN reasons ", and " reasons)
  if(ONEDRAW_CUDA_COMPILER)
    set(ONEDRAW_CUDA_STATE "in this build")
  elseif(wanted STREQUAL "AUTO")
    set(ONEDRAW_CUDA_STATE "not in this build: ${reasons}")
  else()
    message(FATAL_ERROR "ONEDRAW_CUDA is ON, but the CUDA kernels cannot be built: ${reasons}.\n"
      "Set CUDACXX to an nvcc that works, or CUDA_HOME to the folder of a CUDA toolkit; or set ONEDRAW_NVCC=pypi, and pip "
      "takes nvcc from PyPI for this build; or set ONEDRAW_CUDA to OFF for a build without them.")
  endif()
endif()

message(STATUS "CUDA kernels: ${ONEDRAW_CUDA_STATE}")
if(ONEDRAW_CUDA_COMPILER)
  list(JOIN ONEDRAW_CUDA_KNOWN ", " names)
  message(STATUS "CUDA kernels: by nvcc ${ONEDRAW_CUDA_VERSION} (${ONEDRAW_CUDA_COMPILER}) for ${names}")
  if(ONEDRAW_CUDA_UNKNOWN)
    list(JOIN ONEDRAW_CUDA_UNKNOWN ", " names)
    message(STATUS "CUDA kernels: not for ${names}, which this nvcc does not know")
  endif()
endif()
