# Two mirror cores against each other (mirror_pair); once more with the planted bugs.
set(mirror_pair_sources ${CMAKE_CURRENT_SOURCE_DIR}/mirror_pair.cc ${CMAKE_CURRENT_SOURCE_DIR}/mirror_pair_link.cc
    ${CMAKE_CURRENT_SOURCE_DIR}/mirror_pair_cluster.cc ${CMAKE_CURRENT_SOURCE_DIR}/mirror_pair_client.cc
    ${CMAKE_CURRENT_SOURCE_DIR}/mirror_pair_faults.cc ${CMAKE_CURRENT_SOURCE_DIR}/mirror_pair_durability.cc
    ${CMAKE_CURRENT_SOURCE_DIR}/mirror_disk.cc
    ${CMAKE_CURRENT_SOURCE_DIR}/mirror_history.cc ${CMAKE_CURRENT_SOURCE_DIR}/mirror_database.cc)
add_library(baton_mirror_pair STATIC ${mirror_pair_sources})
target_link_libraries(baton_mirror_pair PUBLIC baton_core_mirror baton_model baton_base)
add_executable(baton_mirror_pair_test ${CMAKE_CURRENT_SOURCE_DIR}/mirror_pair_test.cc)
target_link_libraries(baton_mirror_pair_test PRIVATE baton_mirror_pair GTest::gtest_main)
add_test(NAME mirror_pair COMMAND baton_mirror_pair_test)

file(GLOB mirror_core_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/core/mirror/*.cc)
list(FILTER mirror_core_sources EXCLUDE REGEX "_test\\.cc$")
add_executable(baton_mirror_planted_test ${CMAKE_CURRENT_SOURCE_DIR}/mirror_planted_test.cc ${mirror_pair_sources}
               ${mirror_core_sources})
target_compile_definitions(baton_mirror_planted_test PRIVATE BATON_PLANTED)
target_link_libraries(baton_mirror_planted_test PRIVATE baton_model baton_base GTest::gtest_main)
add_test(NAME mirror_planted COMMAND baton_mirror_planted_test)
