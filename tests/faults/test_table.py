"""Which tests cover which row of the fault table. The index fails when a test is renamed or removed."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

ROWS = {
    "the search index is damaged, missing or behind": [
        "bot/search/test_search.py::test_a_damaged_index_is_built_anew_and_search_says_so",
        "bot/search/test_search.py::test_changes_while_search_was_not_running_are_found_at_its_start",
        "bot/search/test_search.py::test_a_process_that_is_killed_is_started_again",
        "bot/search/test_visibility.py::test_no_search_returns_what_may_see_denies_and_none_keeps_back_what_it_allows",
    ],
    "a prompt copied from another tool": [
        "bot/requests/test_pasted.py::test_what_people_paste_is_painted_with_at_most_one_line_of_notes",
        "bot/requests/test_pasted.py::test_any_prompt_takes_steps_in_proportion_to_its_length",
        "cogs/test_create_pasted.py::test_what_people_paste_becomes_a_picture_with_at_most_one_line_of_notes",
    ],
    "bot killed with requests queued": [
        "faults/test_process.py::test_a_hundred_requests_outlive_a_kill_and_go_on_at_once",
        "faults/test_crash_points.py::test_a_kill_at_any_side_effect_loses_nothing",
    ],
    "bot killed at a denoising step": ["test_run.py::test_a_job_cut_off_by_a_kill_is_painted_after_the_restart"],
    "kill between row commit and ack": ["cogs/test_create.py::test_an_answer_nobody_noted_before_a_kill_is_found"],
    "kill between render and post": [
        "faults/test_process.py::test_what_was_painted_before_a_kill_is_shown_after_it_and_not_painted_again",
        "bot/delivery/test_outbox.py::test_ending_that_was_not_shown_is_shown_after_a_restart",
    ],
    "kill between Discord's accept and our commit": [
        "cogs/test_create.py::test_a_result_posted_anew_just_before_a_kill_is_not_posted_twice",
        "faults/test_process.py::test_a_post_that_discord_took_but_never_answered_is_there_once",
    ],
    "engine killed": ["test_run.py::test_an_engine_killed_mid_picture_costs_nobody_their_picture"],
    "engine hangs": [
        "bot/engine/test_misbehaving.py::test_order_dies_with_its_child_and_the_next_one_is_painted",
        "bot/engine/test_stalls.py::test_an_engine_that_does_not_take_an_order_is_not_waited_for_as_one_that_loads",
    ],
    "a stage before the first step hangs": [
        "bot/engine/test_stalls.py::test_only_the_order_in_the_stage_that_stalls_is_blamed",
        "bot/engine/test_stalls.py::test_a_model_that_hangs_while_it_is_loaded_takes_the_engine_down_twice",
        "bot/engine/test_stages.py::test_each_stage_has_a_time_of_its_own_and_only_its_orders_are_blamed",
        "bot/queue/test_dying_engine.py::test_job_that_lost_its_place_through_another_begins_anew_and_costs_no_attempt",
        "bot/worker/test_loop.py::test_a_picture_that_hangs_its_decoder_holds_up_no_other",
    ],
    "out of memory": [
        "bot/worker/test_batch_faults.py::test_out_of_memory_at_any_forward_loses_nobody",
        "bot/worker/test_acceleration.py::test_a_decoder_without_memory_for_the_whole_picture_takes_it_in_tiles",
        "bot/worker/test_pipelines.py::test_picture_too_large_for_the_memory_fails_in_words",
    ],
    "a GPU that is wrong where it is fast": [
        "bot/worker/test_proving.py::test_a_graph_that_replays_something_else_is_never_shown_and_stays_off",
        "bot/worker/test_proving.py::test_a_device_error_in_a_trial_ends_the_process_and_the_next_one_does_not_try_it_again",
        "bot/worker/test_proving.py::test_a_process_that_dies_in_a_trial_is_excused_once_and_if_the_bot_ended_it",
        "bot/worker/test_proving.py::test_compiled_code_that_is_wrong_is_not_used_and_the_graph_stays",
        "bot/worker/test_proving.py::test_a_switch_that_changes_the_picture_stays_off_for_good",
    ],
    "calibration of another machine, damaged or of the future": [
        "bot/engine/test_calibration.py::test_verdicts_of_another_machine_or_version_are_not_used_and_it_is_said_what_differs",
        "bot/engine/test_calibration.py::test_a_damaged_file_is_a_sentence_and_a_fresh_start",
        "bot/engine/test_calibration.py::test_a_file_of_the_future_is_not_used",
    ],
    "NaN or black picture": [
        "bot/worker/test_pipelines.py::test_picture_of_nothing_is_never_shown",
        "bot/worker/test_batch_faults.py::test_a_picture_that_overflows_in_half_precision_is_decoded_again_in_single",
    ],
    "poison prompt": [
        "bot/queue/test_dying_engine.py::test_job_that_takes_the_engine_down_twice_fails_in_words",
        "bot/queue/test_dying_engine.py::test_job_that_saw_the_engine_die_is_tried_again_with_nobody_else_in_it",
        "faults/test_machine.py::TestHouse",
    ],
    "model missing or broken": [
        "bot/engine/test_local.py::test_damaged_model_fails_in_words_and_the_child_lives",
        "bot/engine/test_misbehaving.py::test_child_that_dies_again_and_again_opens_the_breaker",
        "bot/engine/test_misbehaving.py::test_a_model_that_cannot_be_loaded_is_tried_again_less_and_less_often_until_it_can",
        "bot/engine/test_misbehaving.py::test_a_model_that_is_put_right_is_tried_at_once",
        "cogs/test_create.py::test_an_engine_in_trouble_is_said_at_once",
        "cogs/test_samplers.py::test_a_model_whose_files_are_broken_is_refused_at_once_and_the_others_work",
        "bot/engine/model_files/test_facts.py::test_files_that_are_put_right_or_broken_are_noticed",
    ],
    "model files that are something else": [
        "bot/worker/test_bad_models.py::test_doctor_and_engine_say_what_a_bad_model_is",
        "bot/worker/test_bad_models.py::test_doctor_and_engine_say_what_a_bad_lora_is",
        "bot/worker/test_bad_models.py::test_doctor_and_engine_say_what_a_bad_controlnet_is",
        "bot/worker/test_odd_models.py::test_a_folder_with_a_variant_alone_simply_loads",
        "bot/worker/test_odd_models.py::test_a_single_file_that_predicts_v_is_painted_as_one",
        "bot/engine/model_files/test_any_bytes.py::test_any_header",
    ],
    "a sampler that the model cannot use": [
        "cogs/test_samplers.py::test_a_sampler_that_does_not_fit_makes_no_job",
        "bot/engine/model_files/test_sampling.py::test_a_model_of_a_flow_takes_its_own_scheduler_alone",
        "bot/worker/test_odd_models.py::test_an_lcm_paints_in_its_range_and_refuses_the_rest_in_words",
    ],
    "token older than 15 min": [
        "cogs/test_create.py::test_a_wait_longer_than_the_token_still_ends_in_the_same_message"
    ],
    "429, 5xx, resets": [
        "bot/delivery/test_outbox.py::test_busy_discord_is_asked_again_until_it_works",
        "bot/delivery/test_outbox.py::test_order_is_kept_within_a_channel_and_another_is_not_held_up",
        "faults/test_process.py::test_a_busy_discord_is_asked_once_a_second_and_nothing_is_lost",
        "faults/test_process.py::test_five_minutes_of_errors_are_asked_once_a_second_at_most",
        "faults/test_process.py::test_a_limit_of_all_routes_stops_all_of_them_for_its_time_and_loses_nothing",
    ],
    "channel or message deleted, bot kicked, permission lost": [
        "faults/test_process.py::test_a_place_that_is_closed_ends_its_jobs_soon_and_is_asked_little",
        "cogs/test_create.py::test_a_deleted_channel_ends_the_job_with_its_reason",
        "cogs/test_create.py::test_a_lost_permission_costs_at_most_three_refusals_a_job",
        "bot/delivery/test_outbox.py::test_channel_that_refuses_everything_is_left_alone_for_a_while",
    ],
    "file too large": ["cogs/test_create.py::test_pictures_too_large_as_png_are_posted_as_webp_with_a_note"],
    "gateway drop, RESUME with duplicates": [
        "faults/test_process.py::test_a_resume_that_brings_what_was_heard_already_makes_one_job_and_one_rating",
        "faults/test_process.py::test_a_session_that_discord_forgot_is_begun_anew_by_one_identify",
        "faults/test_lost_answers.py::test_an_event_that_comes_twice_makes_one_request_and_no_noise",
        "bot/storage/test_queue.py::test_the_same_interaction_makes_one_job_even_at_the_same_time",
        "cogs/test_feedback.py::test_a_repeated_event_counts_once",
        "cogs/test_queue.py::test_an_outage_costs_the_presence_one_line_and_not_its_task",
        "bot/test_client.py::test_identifying_again_and_again_never_burns_the_days_budget",
    ],
    "disk full": [
        "bot/storage/test_database.py::test_a_full_disk_in_a_shared_transaction",
        "bot/storage/test_database.py::test_a_full_disk_is_said_in_words_and_writing_works_again",
        "cogs/test_create.py::test_whatever_keeps_a_request_out_hands_its_prompt_back",
        "bot/test_client.py::test_a_full_disk_keeps_nobody_offline_and_identifies_count_all_the_same",
    ],
    "second instance on the same data": ["test_main.py::test_a_second_atelier_on_the_same_data_is_sent_away_at_once"],
    "storm of cancelled tasks at the database": [
        "bot/storage/test_database.py::test_a_storm_of_cancelled_callers_strands_nothing"
    ],
    "database damaged": [
        "bot/storage/test_recovery.py::test_a_damaged_file_is_kept_aside_and_the_newest_backup_takes_its_place",
        "bot/storage/test_recovery.py::test_a_former_database_keeps_its_wal_wherever_a_restore_is_killed",
        "bot/storage/test_recovery.py::test_any_flipped_bit_of_an_encrypted_database_is_found",
        "bot/storage/test_recovery.py::test_a_wrong_key_is_said_and_nothing_is_touched",
    ],
    "migration killed half way": ["bot/storage/test_recovery.py::test_a_migration_killed_anywhere"],
    "clock ± 1 day": [
        "bot/requests/test_depth_and_quota.py::test_a_clock_that_is_set_back_a_day_and_put_right_again_gives_nobody_more",
        "faults/test_machine.py::TestHouse",
        "cogs/test_words.py::test_a_clock_set_back_shows_no_negative_duration",
        "bot/storage/test_reports.py::test_a_clock_set_back_makes_no_negative_wait",
        "bot/queue/test_dispatcher.py::test_clock_that_is_set_back_while_a_turn_is_chosen_costs_seconds_not_a_day",
    ],
    "SIGTERM, also with a hung engine": [
        "faults/test_process.py::test_sigterm_with_a_hung_engine_ends_in_time_leaves_nobody_behind_and_loses_nothing",
        "bot/engine/test_misbehaving.py::test_closing_does_not_wait_for_a_child_that_ignores_everything",
    ],
    "bombs": [
        "faults/test_process.py::test_the_bot_opens_nothing_that_a_stranger_names_and_decodes_nothing_that_one_sends",
        "cogs/test_create_uploads.py::test_a_bomb_that_discord_measured_is_not_even_downloaded",
        "bot/requests/test_uploads.py::test_what_is_no_picture_to_work_from_is_refused",
        "bot/worker/test_inputs.py::test_what_cannot_be_used_is_refused_in_words",
        "bot/worker/test_inputs.py::test_picture_comes_out_upright_in_the_size_that_is_painted",
        "bot/worker/test_inputs.py::test_sixteen_bits_are_scaled_not_clipped",
        "bot/requests/test_uploads.py::test_a_picture_is_measured_upright_whatever_its_metadata_are",
        "bot/test_picture_files.py::test_the_work_on_a_file_is_bounded",
    ],
    "inert text": [
        "cogs/test_create.py::test_a_prompt_pings_nobody_and_formats_nothing",
        "cogs/test_words.py::test_messages_keep_what_was_typed_inert_and_fit",
        "cogs/test_words.py::test_any_text_is_inert_and_reads_as_it_was_typed",
    ],
    "forged or foreign buttons": [
        "cogs/test_queue.py::test_a_forged_or_foreign_button_says_that_it_expired",
        "cogs/test_queue.py::test_a_right_in_some_channel_cancels_no_request_of_another",
        "faults/test_process.py::test_a_thousand_random_buttons_change_nothing",
    ],
    "names that are paths, pickles renamed": [
        "faults/test_process.py::test_a_name_that_is_a_path_names_nothing",
        "faults/test_process.py::test_the_bot_opens_nothing_that_a_stranger_names_and_decodes_nothing_that_one_sends",
        "bot/worker/test_pipelines.py::test_a_pickle_by_any_name_is_not_loaded",
    ],
    "a reply of Discord is lost": [
        "faults/test_lost_answers.py::test_an_acknowledgement_whose_reply_is_lost_is_looked_up",
        "faults/test_lost_answers.py::test_an_answer_to_a_request_with_a_picture_is_known_too",
        "faults/test_lost_answers.py::test_a_request_whose_answer_never_reached_discord_is_withdrawn",
        "faults/test_crash_points.py::test_a_reply_that_is_lost_loses_nothing",
    ],
    "a page instead of Discord's JSON": [
        "faults/test_lost_answers.py::test_a_page_instead_of_discords_json_is_waited_for_and_never_quoted",
        "cogs/test_verdicts.py::test_a_page_says_nothing_about_the_channel",
    ],
    "a message or its reactions always fail": [
        "faults/test_lost_answers.py::test_one_message_that_always_fails_holds_up_only_its_own_person",
        "faults/test_lost_answers.py::test_reactions_that_fail_hold_up_no_result",
        "faults/test_lost_answers.py::test_a_message_that_takes_no_edits_any_more_is_replaced_and_deleted",
        "bot/storage/test_queue.py::test_a_result_that_is_removed_while_it_is_posted_is_noted_again",
    ],
    "many wait or cannot be posted": [
        "bot/delivery/test_outbox.py::test_a_change_reads_the_changed_jobs_and_not_all_that_wait_to_be_posted",
        "bot/queue/test_line.py::test_a_new_request_in_a_long_line_is_placed_without_a_schedule_of_its_own",
    ],
    "more commands than can be answered": [
        "cogs/test_create.py::test_a_request_that_came_late_is_told_to_come_again_and_a_later_one_is_not_worked_on",
        "bot/test_responses.py::test_an_age_does_not_depend_on_how_far_the_clocks_differ",
    ],
    "a copy in another place is doubled, lost or left behind": [
        "bot/delivery/test_reactions.py::test_whatever_happens_people_see_what_the_reactions_ask_for_once",
        "bot/delivery/test_reactions.py::test_a_copy_is_there_once_wherever_the_bot_is_killed",
        "cogs/test_reactions.py::test_a_race_of_reactions_makes_one_copy",
        "cogs/test_reactions.py::test_a_deleted_result_takes_its_copies_with_it",
        "faults/test_crash_points.py::test_a_kill_at_any_side_effect_loses_nothing",
    ],
    "a gallery or a person takes no message": [
        "bot/delivery/test_reactions.py::test_a_gallery_that_refuses_is_asked_rarely_and_holds_up_nobody",
        "cogs/test_reactions.py::test_a_gallery_that_takes_no_post_delays_only_its_copies",
        "cogs/test_reactions.py::test_closed_direct_messages_get_a_note_that_goes_again",
    ],
    "reactions while the bot is away": [
        "cogs/test_reactions.py::test_a_cross_given_while_the_bot_was_away_deletes_after_the_start",
        "cogs/test_reactions.py::test_a_restart_makes_no_second_copy_and_undoes_what_was_taken_back_meanwhile",
        "cogs/test_feedback.py::test_reactions_that_changed_while_the_bot_was_away_are_read_after_the_start",
        "bot/storage/test_ratings.py::test_ratings_become_those_that_stand_under_the_message",
    ],
    "nested, unclosed, enormous brackets": [
        "bot/engine/test_weights.py::test_brackets_nested_thousands_of_levels_deep",
        "bot/engine/test_weights.py::test_any_text_takes_steps_in_proportion_to_its_length",
        "bot/engine/test_weights.py::test_of_7500_prompts_nothing_is_changed_but_their_weights_and_each_takes_few_steps",
        "bot/worker/test_prompts.py::test_parts_below_one_cost_a_bounded_number_of_rows_of_the_encoder",
        "bot/worker/test_loop.py::test_prompt_that_takes_long_to_read_holds_nobody_up",
        "bot/worker/test_loop.py::test_prompt_that_cannot_be_read_ends_its_own_order_only",
    ],
    "words lost or added": [
        "bot/requests/test_wording.py::test_what_can_be_seen_stays_as_it_is_written",
        "bot/requests/test_wording.py::test_what_cannot_be_seen_goes_without_a_blank",
        "bot/requests/test_options.py::test_dashes_from_a_phone_are_repaired_and_dashes_in_prose_are_left_alone",
        "cogs/test_create.py::test_a_prompt_of_4000_characters_is_painted_and_every_message_fits",
        "cogs/test_create.py::test_a_prompt_that_is_too_long_for_a_message_is_handed_back_whole_as_a_file",
    ],
    "log canaries": [
        "faults/test_process.py::test_no_secret_and_no_prompt_is_logged_whatever_discord_and_the_engine_answer",
        "bot/test_logs.py::test_the_words_of_a_request_are_cut_out",
        "bot/test_logs.py::test_a_refusal_that_quotes_a_prompt_is_logged_without_it",
        "bot/test_logs.py::test_what_a_library_says_of_a_prompt_is_logged_without_it",
        "bot/test_logs.py::test_tokens_in_tracebacks_and_their_causes_are_cut_out",
        "cogs/test_create.py::test_a_message_discord_does_not_understand_fails_without_the_prompt_in_the_log",
        "faults/test_crash_points.py::test_a_kill_at_any_side_effect_loses_nothing",
        "faults/test_canaries.py::test_a_command_whose_work_fails_and_quotes_it",
        "faults/test_canaries.py::test_a_notice_that_fails_and_quotes_a_report",
        "faults/test_canaries.py::test_a_check_or_label_that_fails_and_quotes_the_request",
        "faults/test_canaries.py::test_a_look_at_a_strangers_picture_that_fails_and_its_texts",
        "faults/test_canaries.py::test_the_key_of_pictures_reaches_no_log",
    ],
    "words that may not be painted": [
        "bot/prompt_safety/test_block.py::test_of_200_evasions_at_least_99_in_100_are_caught",
        "faults/test_words.py::TestWords",
        "cogs/test_terms.py::test_every_way_for_words_is_tried_or_is_known_to_reach_no_model",
        "cogs/test_terms.py::test_nothing_becomes_a_job_except_through_a_quote",
    ],
    "the database or its pictures are encrypted, or get another key": [
        "bot/storage/test_encryption.py::test_a_change_of_the_key_killed_anywhere_loses_nothing",
        "bot/storage/test_encryption.py::test_a_lost_key_is_named_and_changes_nothing",
        "bot/storage/test_picture_encryption.py::test_a_change_killed_anywhere_loses_no_picture",
        "bot/storage/test_picture_encryption.py::test_a_change_in_the_environment_that_was_cut_short",
        "bot/storage/test_picture_encryption.py::test_a_lost_key_is_named_and_no_picture_is_deleted",
    ],
    "model files that somebody replaced": [
        "bot/worker/test_known_files.py::test_a_model_whose_weights_changed_is_not_loaded_until_the_host_accepts_it",
        "bot/worker/test_known_files.py::test_a_lora_or_controlnet_that_changed_is_left_out_alone",
    ],
    "safety model missing or crashing": [
        "bot/worker/test_nsfw.py::test_a_check_that_fails_or_makes_no_sense_shows_nothing",
        "bot/worker/test_nsfw.py::test_a_store_without_the_check_paints_nothing",
        "bot/worker/test_nsfw.py::test_no_step_of_another_person_waits_for_a_check",
        "bot/worker/test_safety_checker.py::test_a_model_whose_checker_is_missing_or_damaged_paints_nothing_and_says_why",
        "bot/worker/test_safety_checker.py::test_a_checker_that_fails_at_a_picture_shows_it_to_nobody",
        "bot/worker/test_kinds.py::test_safety_check_of_a_model_sees_every_kind",
        "bot/worker/test_previews.py::test_nobody_sees_what_a_safety_checker_has_not_seen",
    ],
}
"""The beginnings of test names, by the fault that they cover."""


@pytest.mark.parametrize(("fault", "tests"), ROWS.items(), ids=list(ROWS))
def test_every_row_has_tests_that_exist(fault: str, tests: list[str]) -> None:
    for node in tests:
        path, _, name = node.partition("::")
        tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
        defined = [part.name for part in ast.walk(tree) if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)]
        defined += [part.id for part in ast.walk(tree) if isinstance(part, ast.Name)]
        assert any(test.startswith(name) for test in defined if name), f"{fault}: {node} is gone"
