# Every widget: id, price and stock in columns.
{ printf "%-10s %8.2f %6d  %s\n", $1, $3 / 100, $4, $2 }
