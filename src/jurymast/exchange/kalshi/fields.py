"""Every field Kalshi 3.34.0 is known to send, by object: what is not here counts as drift.

REST and websocket names stand together. Some are legacy (``side``, ``action``, ``liquidity_dollars``):
known, so that they raise no alarm, and never read.
"""

from __future__ import annotations

from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


MARKET: Final = _words(
    """
    ticker event_ticker market_type title subtitle yes_sub_title no_sub_title created_time updated_time
    open_time close_time expected_expiration_time expiration_time latest_expiration_time
    settlement_timer_seconds status yes_bid_dollars yes_bid_size_fp yes_ask_dollars yes_ask_size_fp
    no_bid_dollars no_ask_dollars last_price_dollars volume_fp volume_24h_fp result can_close_early
    open_interest_fp notional_value_dollars previous_yes_bid_dollars previous_yes_ask_dollars
    previous_price_dollars settlement_value_dollars settlement_ts settlement_bounds_type
    settlement_floor_dollars expiration_value occurrence_datetime fee_waiver_expiration_time
    early_close_condition strike_type floor_strike cap_strike functional_strike custom_strike
    rules_primary rules_secondary mve_collection_ticker mve_selected_legs primary_participant_key
    price_level_structure price_ranges is_provisional exchange_index liquidity_dollars tick_size
    """
)
EVENT: Final = _words(
    """
    event_ticker series_ticker sub_title title collateral_return_type mutually_exclusive category
    strike_date strike_period markets available_on_brokers product_metadata settlement_sources
    last_updated_ts fee_type_override fee_multiplier_override exchange_index
    """
)
ORDER: Final = _words(
    """
    order_id user_id client_order_id ticker side action outcome_side book_side type status
    yes_price_dollars no_price_dollars fill_count_fp remaining_count_fp initial_count_fp
    taker_fill_cost_dollars maker_fill_cost_dollars taker_fees_dollars maker_fees_dollars
    expiration_time created_time last_update_time self_trade_prevention_type order_group_id
    cancel_order_on_pause subaccount_number exchange_index
    is_yes expiration_ts_ms created_ts_ms last_updated_ts_ms last_update_reason
    """
)
FILL: Final = _words(
    """
    fill_id exchange_index trade_id order_id ticker market_ticker side action outcome_side book_side
    count_fp yes_price_dollars no_price_dollars is_taker created_time fee_cost subaccount_number ts
    client_order_id ts_ms post_position_fp purchased_side subaccount
    """
)
POSITION: Final = _words(
    """
    ticker exchange_index total_traded_dollars position_fp market_exposure_dollars realized_pnl_dollars
    fees_paid_dollars last_updated_ts resting_orders_count
    """
)
SETTLEMENT: Final = _words(
    """
    ticker exchange_index event_ticker market_result yes_count_fp yes_total_cost_dollars no_count_fp
    no_total_cost_dollars revenue settled_time fee_cost value
    """
)
TRADE: Final = _words(
    """
    trade_id ticker count_fp yes_price_dollars no_price_dollars taker_side taker_outcome_side
    taker_book_side created_time is_block_trade
    """
)
