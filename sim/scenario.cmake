# The scripted cluster (tests/scenarios).
add_library(baton_scenario STATIC ${CMAKE_CURRENT_SOURCE_DIR}/scenario.cc ${CMAKE_CURRENT_SOURCE_DIR}/scenario_guard.cc)
target_link_libraries(baton_scenario PUBLIC baton_core_node)
baton_program(baton-scenarios scenario_main.cc baton_scenario)
