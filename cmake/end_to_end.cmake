# The tests in tests/: each folder with C++ sources is one program linked to every room; each tests/e2e/*_test.py drives the
# binary from outside, or the program of its own that lies beside it and gives it a room alone. And the house rules.

file(GLOB folders CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/*)
list(REMOVE_ITEM folders ${CMAKE_SOURCE_DIR}/tests/e2e)
foreach(folder ${folders})
  file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.cc)
  if(sources)
    get_filename_component(name ${folder} NAME)
    add_executable(tests_${name} ${sources})
    millrace_compile_test(tests_${name})
    target_include_directories(tests_${name} PRIVATE ${CMAKE_SOURCE_DIR})
    target_link_libraries(tests_${name} PRIVATE apps GTest::gmock GTest::gtest_main)
    add_test(NAME tests.${name} COMMAND tests_${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(tests.${name} PROPERTIES LABELS model RUN_SERIAL ON)
  endif()
endforeach()

file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/e2e/*.cc)
foreach(source ${sources})
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} ${source})
  target_link_libraries(${name} PRIVATE chat)
endforeach()

find_package(Python3 COMPONENTS Interpreter REQUIRED)
file(GLOB scripts CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/e2e/*_test.py)
foreach(script ${scripts})
  get_filename_component(name ${script} NAME_WE)
  string(REGEX REPLACE "_test$" "" name ${name})
  add_test(NAME e2e.${name} COMMAND ${Python3_EXECUTABLE} -B ${script} $<TARGET_FILE:millrace>
           WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(e2e.${name} PROPERTIES LABELS e2e)
endforeach()
# These run a model on all cores.
set_tests_properties(e2e.chat e2e.cli e2e.decoding_bench e2e.options e2e.peers e2e.perplexity e2e.serve e2e.speculation
                     e2e.transport PROPERTIES RUN_SERIAL ON)

# Each tests/clients/*_test.py drives it with a client from PyPI. `./mill clients` runs them: installing the clients takes minutes.
file(GLOB scripts CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/clients/*_test.py)
foreach(script ${scripts})
  get_filename_component(name ${script} NAME_WE)
  string(REGEX REPLACE "_test$" "" name ${name})
  add_test(NAME clients.${name} COMMAND ${Python3_EXECUTABLE} -B ${script} $<TARGET_FILE:millrace>
           WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(clients.${name} PROPERTIES LABELS clients RUN_SERIAL ON)
endforeach()

add_test(NAME tidy COMMAND ${CMAKE_SOURCE_DIR}/tools/tidy)
add_test(NAME tidy.self COMMAND ${CMAKE_SOURCE_DIR}/tools/tidy --self-test)
