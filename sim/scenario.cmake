# The scripted cluster (tests/scenarios).
set(scenario_sources scenario.cc scenario_network.cc scenario_rings.cc scenario_mirrors.cc scenario_watch.cc
                     scenario_script.cc scenario_fencing.cc scenario_folder.cc scenario_guard.cc scenario_clocks.cc scenario_keys.cc)
add_library(baton_scenario STATIC ${scenario_sources})
target_link_libraries(baton_scenario PUBLIC baton_core_node)
add_executable(baton_cold_start_test cold_start_test.cc)
target_link_libraries(baton_cold_start_test PRIVATE baton_scenario GTest::gtest_main)
add_test(NAME cold_start COMMAND baton_cold_start_test)
baton_program(baton-scenarios scenario_main.cc baton_scenario)
